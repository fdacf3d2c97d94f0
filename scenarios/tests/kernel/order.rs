//! Orders of events that rarely occur by chance: the tree is over before the wait begins, and the
//! site is removed before or during the wait.
//!
//! Each test plays in a forked copy of this process, because detectors change theirs (subreaper,
//! blocked signals).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use harness::MonoNs;
use harness::detect::{self, AnyDetector, Armed, DETECTORS, Signal, Verdict, Wake};
use harness::expect::{Plane, Scope};
use harness::host::named::{self, Named};
use harness::param;
use harness::record::Outcome;
use harness::sys::fork::worker;
use harness::sys::time;
use harness::trial::{Root, SpawnPlan, Workload};
use nix::poll::{PollFd, PollFlags, poll};

use super::common::{Test, ensure, spec_at, start};
use super::needs::{CGROUP2_WRITE, PIDS_LIMIT};
use super::place::{Place, V1Dir, reap_all};
use super::random::is_sound;

/// How long a verdict may take that needs no event any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for spec in DETECTORS.iter().map(|d| d.spec()) {
        let id = spec.id;
        let mut test = |name: &str, body: fn(AnyDetector) -> Result<(), String>| {
            tests.push(Test::new(
                format!("order::{name}::{id}"),
                &[CGROUP2_WRITE, PIDS_LIMIT, id],
                move || body(detect::by_id(id).ok_or("not registered")?),
            ));
        };
        if spec.scope == Scope::Cgroup && spec.signal == Signal::Emptiness {
            test("an_empty_site_is_told_at_once", |detector| {
                apart(|| empty_before_armed(detector))
            });
        }
        if is_sound(spec) && spec.wake == Wake::Event {
            test(
                "no_wake_up_is_lost_between_arming_and_waiting",
                |detector| apart(|| over_before_waiting(detector)),
            );
        }
        if spec.scope == Scope::Cgroup {
            test("a_removed_site_is_not_called_empty", |detector| {
                apart(|| removed_before_waiting(detector))
            });
        }
        if spec.signal == Signal::Emptiness && !spec.loses_on_removal {
            test(
                "survives_an_owner_who_removes_at_once",
                removed_while_waiting,
            );
        }
    }
    tests
}

/// How often an order is forced: this often at least, and as often as time allows at most.
const ROUNDS: std::ops::Range<u32> = 20..1000;

/// How long to go on after the first rounds. Some take tens of milliseconds to arm or to clean up.
const ENOUGH: Duration = Duration::from_secs(5);

/// Runs `body` in a forked copy of this process.
pub(crate) fn apart(body: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (hear, tell) = nix::unistd::pipe().map_err(|e| e.to_string())?;
    let copy = worker(0, None, || match body() {
        Ok(()) => 0,
        Err(what) => {
            // A copy that cannot report what is wrong still ends with a failure.
            i32::from(
                File::from(tell.try_clone().expect("a descriptor is left"))
                    .write_all(what.as_bytes())
                    .is_err(),
            ) + 1
        }
    });
    let copy = copy.map_err(|e| format!("fork: {e}"))?;
    drop(tell);
    let mut what = String::new();
    File::from(hear)
        .read_to_string(&mut what)
        .map_err(|e| e.to_string())?;
    let ended = nix::sys::wait::waitpid(copy.pid, None).map_err(|e| e.to_string())?;
    ensure(
        ended == nix::sys::wait::WaitStatus::Exited(copy.pid, 0),
        || format!("{ended:?} {what}"),
    )
}

/// A site, a process that ends at once, and whatever the detector under test makes elsewhere.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Where it is.
    pub(crate) place: Place,
    passer_by: Workload,
}

impl Scene {
    pub(crate) fn set(detector: AnyDetector) -> Result<Self, String> {
        let mut place = Place::make()?;
        place.site.plane = Plane::Detect;
        place.site.params = param::defaults(detector.spec().axes, Plane::Detect);
        let open = |path: &str| {
            File::open(path)
                .map(Into::into)
                .map_err(|e| format!("{path}: {e}"))
        };
        // Not a program: the process is born, enters its cgroups, fails to exec and ends.
        let passer_by = Workload {
            exe: open("/proc/self/status")?,
            argv: Vec::new(),
            envp: Vec::new(),
            stops: false,
            input: open("/dev/null")?,
            program: None,
        };
        Ok(Self { place, passer_by })
    }

    pub(crate) fn plan(&self) -> Result<SpawnPlan<'_>, String> {
        SpawnPlan::new(&self.place.site, &self.passer_by).map_err(|e| e.to_string())
    }

    /// Returns when the process has ended (it is a zombie) and the cgroup is empty, which since
    /// Linux 6.19 comes after that.
    fn until_over(&self, root: &Root) -> Result<(), String> {
        let deadline = time::now() + PATIENCE;
        let mut ended = [PollFd::new(root.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, 10_000u16).map_err(|e| e.to_string())?;
        while self
            .place
            .site
            .cgroup
            .events()
            .map_err(|e| e.to_string())?
            .populated
        {
            ensure(!deadline.has_passed(), || {
                "the passer-by lives on".to_owned()
            })?;
        }
        Ok(())
    }

    pub(crate) fn clear(&self) -> Result<(), String> {
        reap_all();
        let shared = named::shared(&self.place.site.label());
        named::take_down(&shared, time::now() + PATIENCE, &mut || {}).map_err(|e| e.to_string())
    }
}

fn wait(armed: &mut Armed, deadline: MonoNs) -> Result<Verdict, String> {
    armed.wait(deadline).map_err(|e| e.to_string())
}

fn said_empty(verdict: &Verdict, when: &dyn Fn() -> String) -> Result<(), String> {
    ensure(matches!(verdict, Verdict::Empty { .. }), || {
        format!("{}: {verdict:?}", when())
    })
}

/// Armed on a site that is empty already: it learns that from the state, since no event will come.
fn empty_before_armed(detector: AnyDetector) -> Result<(), String> {
    let scene = Scene::set(detector)?;
    let root = scene.plan()?.spawn().map_err(|e| e.to_string())?;
    scene.until_over(&root)?;
    let mut plan = scene.plan()?;
    let mut armed = detector
        .arm(&scene.place.site.set(), &mut plan.options)
        .map_err(|e| e.to_string())?;
    armed.attach(&root).map_err(|e| e.to_string())?;
    drop(plan);
    let verdict = wait(&mut armed, time::now() + PATIENCE)?;
    armed.finish();
    scene.clear()?;
    said_empty(&verdict, &|| "on an empty site".to_owned())
}

/// Everything is over when the wait begins: the event has come and gone.
fn over_before_waiting(detector: AnyDetector) -> Result<(), String> {
    let scene = Scene::set(detector)?;
    // There the workload waits at a gate until it has been attached.
    let gated = detector.spec().effects.gates_spawn;
    let enough = time::now() + ENOUGH;
    for round in 0..ROUNDS.end {
        if round >= ROUNDS.start && enough.has_passed() {
            break;
        }
        let mut plan = scene.plan()?;
        let mut armed = detector
            .arm(&scene.place.site.set(), &mut plan.options)
            .map_err(|e| e.to_string())?;
        let root = plan.spawn().map_err(|e| e.to_string())?;
        drop(plan);
        if round % 2 == 0 && !gated {
            scene.until_over(&root)?;
        }
        armed.attach(&root).map_err(|e| e.to_string())?;
        scene.until_over(&root)?;
        let verdict = wait(&mut armed, time::now() + PATIENCE)?;
        armed.finish();
        scene.clear()?;
        said_empty(&verdict, &|| format!("round {round}"))?;
    }
    Ok(())
}

/// What the detector watches is gone when the wait begins: it was empty, but that was not seen.
fn removed_before_waiting(detector: AnyDetector) -> Result<(), String> {
    let scene = Scene::set(detector)?;
    let site = &scene.place.site;
    let mut plan = scene.plan()?;
    let mut armed = detector
        .arm(&site.set(), &mut plan.options)
        .map_err(|e| e.to_string())?;
    let root = plan.spawn().map_err(|e| e.to_string())?;
    drop(plan);
    armed.attach(&root).map_err(|e| e.to_string())?;
    scene.until_over(&root)?;
    let gone = |e: harness::cgroup::CgroupError| e.to_string();
    match detector.spec().id {
        "v1-release-agent" | "v1-release-event-control" => {
            let hierarchy =
                Named::mount(&named::shared(&site.label())).map_err(|e| e.to_string())?;
            for child in hierarchy.root().children().map_err(gone)? {
                child
                    .map_err(gone)?
                    .remove_tree()
                    .map_err(|(_, e)| gone(e))?;
            }
        }
        "v1-event-control" => V1Dir::remove("memory", &format!("{}.event", site.label()))?,
        _ => site.parent.remove_child("site").map_err(gone)?,
    }
    let verdict = wait(&mut armed, time::now() + PATIENCE)?;
    armed.finish();
    scene.clear()?;
    ensure(
        matches!(
            verdict,
            Verdict::SiteRemoved { .. } | Verdict::Unknown { .. }
        ),
        || format!("{verdict:?}"),
    )
}

/// The site is removed by its owner as soon as the main process has ended, while the detector
/// sleeps. A detector that is offered for real use is woken.
fn removed_while_waiting(detector: AnyDetector) -> Result<(), String> {
    let scenario = scenarios::by_id("owner-removes").ok_or("not registered")?;
    let mut run = start();
    let mut played = || -> Result<(), String> {
        for seq in 0..10 {
            let mut spec = spec_at(
                scenario,
                detector,
                None,
                &[("lifetime", u64::from(seq % 2) * 1_000_000)],
            );
            spec.seq = seq;
            let record = run.trial(&spec).map_err(|e| e.to_string())?;
            ensure(record.held && record.outcome != Outcome::Missed, || {
                serde_json::to_string_pretty(&record).unwrap_or_else(|e| e.to_string())
            })?;
        }
        Ok(())
    };
    let played = played();
    let leaks = run.finish().map_err(|e| e.to_string())?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    played
}
