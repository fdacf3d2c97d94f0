//! What the end of one job costs in a loop that watches 1 to 10 000 sites: from telling the job to
//! end to the loop's verdict, by mechanism.
//!
//! One site has a process, the others are watched and empty. Each process lives longer than the
//! kernel delays an event, so that the loop is timed and not the window. `scenario scale` measures
//! with sleepers in all sites, CPU time and single completions.

use std::process::ExitCode;
use std::time::Duration;

use benches::trials::{reference, spec};
use benches::{Frame, Group, workload};
use criterion::{BenchmarkId, Criterion};
use harness::detect::{DetectError, Verdict};
use harness::fleet::{
    Completion, Fleet, MECHANISMS, Mechanism, SleeperSet, raise_descriptor_limit,
};
use harness::sys::time::now;

/// Sites in one loop.
const SITES: [usize; 3] = [1, 100, 10_000];
/// How long a process lives. Its birth follows the end of the previous one, so its event comes
/// late, by up to 20 ms; and 10 ms after that event the next one is not delayed.
const REST: Duration = Duration::from_millis(40);
/// How long the loop may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a sample may take. A turn is mostly waiting, so a sample that wants more turns than
/// this allows gets the mean of those played.
const SAMPLE: Duration = Duration::from_millis(120);

fn main() -> ExitCode {
    benches::main(&Group {
        name: "scale",
        anywhere: |_| (),
        in_cgroup,
    })
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    if let Err(e) = raise_descriptor_limit() {
        frame.leave_out("all of it", e);
        return;
    }
    let mut group = criterion.benchmark_group("scale");
    for mechanism in MECHANISMS {
        let id = mechanism.spec().id;
        if !frame.offers_fleet(*mechanism) {
            continue;
        }
        for sites in SITES {
            let mut turns = match Turns::begin(*mechanism, sites, frame) {
                Ok(turns) => turns,
                Err(e) => {
                    frame.leave_out(format_args!("{id}/{sites}"), e);
                    continue;
                }
            };
            group.bench_function(BenchmarkId::new(id, sites), |bencher| {
                bencher.iter_custom(|times| turns.play(times));
            });
            turns
                .stand
                .take_down()
                .expect("the sites are empty and unused");
        }
    }
    group.finish();
}

/// A loop, its sites, and a process in the first one.
struct Turns {
    fleet: Box<dyn Fleet>,
    stand: SleeperSet,
}

impl Turns {
    fn begin(
        mechanism: &dyn Mechanism,
        sites: usize,
        frame: &mut Frame<'_>,
    ) -> Result<Self, DetectError> {
        let seq = frame.next_seq();
        let own = workload::exiting().expect("/proc is mounted");
        let site = frame.site(&spec(seq, own, reference(), None));
        let mut fleet = mechanism.open(sites)?;
        let mut stand = SleeperSet::build(site.cgroup.try_clone()?, sites)?;
        let watched = (0..sites)
            .try_for_each(|number| fleet.watch(number, &stand.site(number)?))
            .and_then(|()| fleet.started(0, &stand.start(0)?));
        match watched {
            Ok(()) => Ok(Self { fleet, stand }),
            Err(e) => {
                stand.take_down()?;
                Err(e)
            }
        }
    }

    /// The time of `times` turns, or of as many as a sample allows, for all of them.
    fn play(&mut self, times: u64) -> Duration {
        let begun = now();
        let (mut played, mut sum) = (0u32, Duration::ZERO);
        while u64::from(played) < times && (played == 0 || now().since(begun) < SAMPLE) {
            sum += self.turn();
            played += 1;
        }
        sum.mul_f64(times as f64 / f64::from(played))
    }

    fn turn(&mut self) -> Duration {
        self.rest();
        let mut over = Vec::new();
        let told = now();
        self.stand.end(0);
        self.fleet
            .wait(told + PATIENCE, &mut over)
            .expect("the loop waits");
        let known = now();
        match over.as_slice() {
            [
                Completion {
                    site: 0,
                    verdict: Verdict::Empty { .. },
                },
            ] => {}
            other => panic!("site 0 has ended, and the loop said {other:?}"),
        }
        self.stand.reap(0).expect("it has ended");
        let next = self
            .stand
            .start(0)
            .expect("one more process can be started");
        self.fleet.started(0, &next).expect("the loop reports it");
        known.since(told)
    }

    /// Waits while nothing ends.
    fn rest(&mut self) {
        let until = self.stand.since(0).map_or_else(now, |since| since + REST);
        let mut over = Vec::new();
        if !until.has_passed() {
            self.fleet.wait(until, &mut over).expect("the loop waits");
        }
        assert!(
            over.is_empty(),
            "nothing has ended, and the loop said {over:?}"
        );
    }
}
