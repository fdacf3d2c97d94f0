//! The order of preference, from the facts of the specs and the measurements. Pure, and without a
//! list of ids.

use std::collections::{BTreeMap, BTreeSet};

use allgone::Effects;
use harness::detect::{DetectorSpec, Signal, Wake};
use harness::expect::{Expectation, KillExpectation, Plane, Scope};
use harness::host::{KernelVersion, Support};
use harness::kill::KillSpec;
use harness::param::{self, Axis, InPlane, ParamPoint};
use serde::Serialize;

use super::Situation;
use super::evidence::Measured;
use crate::{SCENARIOS, Scenario, expectations};

/// Medians within this factor of the best are called equally fast: then other things decide.
const AS_FAST: u64 = 2;

/// CPU time for each second of waiting above which waiting is not free.
const IDLE_NS: u64 = 1_000_000;

/// The kernel that is assumed for the situation "old kernel": the first long-term one that has
/// pidfds and the cgroup freezer.
pub(super) const OLD: KernelVersion = KernelVersion(5, 4);

/// A mechanism that could be named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Candidate {
    /// Its id.
    pub id: &'static str,
    /// The facts for which it is recommended.
    pub because: Vec<String>,
    /// Caveats.
    pub but: Vec<String>,
    /// What was measured; `null`: nothing.
    pub measured: Option<Measured>,
    /// Why it cannot be used here, and what would change that.
    pub missing: Option<(String, String)>,
    #[serde(skip)]
    facts: Facts,
}

/// What candidates are compared by; smaller is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// It does not use the special feature of the situation.
    beside_the_point: bool,
    /// Recorded trials show failures.
    refuted: bool,
    /// Adversaries against which it may fail, or a wake-up that may be lost.
    doubts: usize,
    /// Kinds of bystander that it may hit.
    bystanders: usize,
    /// 0: it sleeps until it is woken, 1: it reads at intervals, 2: it spins.
    waiting: u8,
    /// It needs more than a cgroup of one's own.
    privileged: bool,
    /// Time that the caller has to wait before the start.
    extra_ns: u64,
}

/// What a recommendation is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    /// What it is for.
    pub situation: Situation,
    /// Whether this kernel's `cgroup.kill` is known to kill processes without a first thread as
    /// well.
    pub kills_leaderless: bool,
}

impl Here {
    /// Whether the situation allows for this at all.
    fn admits(self, since: KernelVersion, privilege: &str) -> bool {
        match self.situation {
            Situation::OneShot | Situation::Server => since != KernelVersion::UNRELEASED,
            Situation::NoRoot => since != KernelVersion::UNRELEASED && !needs(privilege),
            Situation::OldKernel => since <= OLD,
            Situation::PatchedKernel => true,
        }
    }

    /// A patched kernel has what no released one has.
    fn missing(self, since: KernelVersion, support: &Support) -> Option<(String, String)> {
        let assumed =
            self.situation == Situation::PatchedKernel && since == KernelVersion::UNRELEASED;
        match support {
            Support::Missing { why, remedy } if !assumed => Some((why.clone(), remedy.clone())),
            _ => None,
        }
    }

    fn beside_the_point(self, since: KernelVersion) -> bool {
        self.situation == Situation::PatchedKernel && since != KernelVersion::UNRELEASED
    }

    /// The detector as a candidate; `None` if it cannot be relied on, or not in this situation.
    pub(super) fn detector(
        self,
        spec: &DetectorSpec,
        support: &Support,
        measured: Option<Measured>,
    ) -> Option<Candidate> {
        let sound = SCENARIOS
            .iter()
            .filter(|s| s.spec().planes.contains(&Plane::Detect))
            .all(|scenario| {
                !can_be_fooled(spec, *scenario) || expectations::ends_unseen(*scenario)
            });
        if spec.scope != Scope::Cgroup || spec.signal != Signal::Emptiness || !sound {
            return None;
        }
        if !self.admits(spec.since, spec.privilege) {
            return None;
        }
        let mut because = vec![
            "it sees every process of the cgroup and below, which none can leave by itself"
                .to_owned(),
        ];
        let mut but = vec![format!("late: {}", spec.late)];
        if spec.loses_on_removal {
            but.push(
                "it may sleep on if another process removes the cgroup: only for programs that \
                    remove it themselves"
                    .to_owned(),
            );
        } else {
            because
                .push("its wake-up is not lost if another process removes the cgroup".to_owned());
        }
        let (waiting, how) = match spec.wake {
            Wake::Event => (0, "it sleeps until the kernel wakes it"),
            Wake::Interval => (1, "it reads at intervals"),
            Wake::Spin => (2, "it spins"),
        };
        because.push(how.to_owned());
        privilege(spec.privilege, &mut because, &mut but);
        effects(&spec.effects, &mut because, &mut but);
        // A pool is filled in advance; a caller with only one job to start has to wait for that.
        let warm_up = spec.axes.iter().find(|axis| axis.name == "warm-up");
        let extra_ns = match (warm_up, self.situation) {
            (None, _) | (_, Situation::Server) => 0,
            (Some(axis), _) => axis.default_in(Plane::Detect),
        };
        if let Some(axis) = warm_up {
            let time = axis.format(axis.default_in(Plane::Detect));
            but.push(match extra_ns {
                0 => {
                    format!("its cgroups have to be ready {time} before they are used: keep a pool")
                }
                _ => format!(
                    "the cgroup has to be ready {time} before the start, which counts \
                    against it here"
                ),
            });
        }
        let refuted = measured.as_ref().is_some_and(|m| !m.against.is_empty());
        let candidate = Candidate {
            id: spec.id,
            because,
            but,
            missing: self.missing(spec.since, support),
            facts: Facts {
                beside_the_point: self.beside_the_point(spec.since),
                // A lost wake-up that the spec declares is counted as a caveat already.
                refuted: refuted && !spec.loses_on_removal,
                doubts: usize::from(spec.loses_on_removal),
                bystanders: 0,
                waiting,
                privileged: needs(spec.privilege),
                extra_ns,
            },
            measured,
        };
        Some(candidate.with_figures())
    }

    /// The strategy as a candidate; `None` if it does not even claim to leave nothing, or not in
    /// this situation.
    pub(super) fn strategy(
        self,
        spec: &KillSpec,
        support: &Support,
        measured: Option<Measured>,
    ) -> Option<Candidate> {
        if !spec.claims_sound || !self.admits(spec.since, spec.privilege) {
            return None;
        }
        let mut doubts = Vec::new();
        let mut against = 0;
        for scenario in SCENARIOS {
            if !scenario.spec().planes.contains(&Plane::Kill) {
                continue;
            }
            let at = defaults(scenario.spec().axes, spec.axes, Plane::Kill);
            match scenario.expect_kill(&at, spec.reach) {
                KillExpectation::Survives(_) if expectations::escapes_all(*scenario) => {}
                KillExpectation::Survives(_) => return None,
                // Tried on this kernel, which is better than an expectation for all kernels.
                KillExpectation::MaySurvive(_)
                    if scenario.spec().id == LEADERLESS && self.kills_leaderless =>
                {
                    against += 1
                }
                KillExpectation::MaySurvive(why) => {
                    doubts.push(format!("{}: {why}", scenario.spec().id))
                }
                KillExpectation::Empties => against += 1,
                KillExpectation::NotApplicable(_) => {}
            }
        }
        let mut because = vec![format!("it leaves nothing alive of {against} adversaries")];
        let mut but: Vec<String> = doubts
            .iter()
            .map(|doubt| format!("may leave something of {doubt}"))
            .collect();
        match spec.may_hit {
            [] => because.push("it hits no other process".to_owned()),
            hits => but.extend(
                hits.iter()
                    .map(|canary| format!("it may hit a bystander: {canary}")),
            ),
        }
        privilege(spec.privilege, &mut because, &mut but);
        effects(&spec.effects, &mut because, &mut but);
        but.push(format!("faults: {}", spec.faults));
        let candidate = Candidate {
            id: spec.id,
            because,
            but,
            missing: self.missing(spec.since, support),
            facts: Facts {
                beside_the_point: self.beside_the_point(spec.since),
                // A caveat that was seen in trials is not counted twice.
                refuted: doubts.is_empty()
                    && measured.as_ref().is_some_and(|m| !m.against.is_empty()),
                doubts: doubts.len(),
                bystanders: spec.may_hit.len(),
                waiting: 0,
                privileged: needs(spec.privilege),
                extra_ns: 0,
            },
            measured,
        };
        Some(candidate.with_figures())
    }
}

/// The scenario that shows [`harness::host::bugs::SPARES_DEAD_LEADERS`].
const LEADERLESS: &str = "leaderless";

fn can_be_fooled(spec: &DetectorSpec, scenario: &dyn Scenario) -> bool {
    let at = defaults(scenario.spec().axes, spec.axes, Plane::Detect);
    let expected = harness::detect::expectation(
        spec,
        scenario.expect(&at, spec.scope),
        scenario.spec().stage.owner_removes,
    );
    matches!(
        expected,
        Expectation::Early(_) | Expectation::MayBeEarly(_) | Expectation::NeverFires(_)
    )
}

fn defaults(
    of_scenario: &'static [Axis],
    of_mechanism: &'static [Axis],
    plane: Plane,
) -> ParamPoint {
    param::defaults(of_scenario.iter().chain(of_mechanism), plane)
}

/// What using it changes in the program that uses it.
fn effects(stated: &Effects, because: &mut Vec<String>, but: &mut Vec<String>) {
    match *stated == Effects::NONE.holding(stated.holds) {
        true => because.push("it changes nothing in the process that uses it".to_owned()),
        false => but.push(format!("it changes the process that uses it: {stated}")),
    }
}

/// Whether a statement of privilege states one.
fn needs(privilege: &str) -> bool {
    !privilege.is_empty() && !privilege.starts_with("none")
}

fn privilege(stated: &str, because: &mut Vec<String>, but: &mut Vec<String>) {
    match needs(stated) {
        false => because.push("it needs no privilege but a cgroup of one's own".to_owned()),
        true => but.push(format!("it needs {stated}")),
    }
}

impl Candidate {
    fn with_figures(mut self) -> Self {
        if let Some(measured) = &self.measured {
            self.but.extend(
                measured
                    .against
                    .iter()
                    .map(|what| format!("recorded: {what}")),
            );
        }
        self
    }

    /// Criteria that count before speed; smaller is better.
    fn tier(&self) -> (bool, bool, usize, usize, bool, u8) {
        let facts = &self.facts;
        (
            self.missing.is_some(),
            facts.refuted,
            facts.doubts,
            facts.bystanders,
            facts.beside_the_point,
            facts.waiting,
        )
    }

    /// Its slowest median in `rows`, plus its time before the start. `None`: not measured in each
    /// of them, or beyond the deadline.
    fn slowest_ns(&self, rows: &BTreeSet<&str>) -> Option<u64> {
        let medians = &self.measured.as_ref()?.p50_ns;
        let each: Option<Vec<u64>> = rows.iter().map(|row| *medians.get(*row)?).collect();
        Some(each?.into_iter().max()?.saturating_add(self.facts.extra_ns))
    }
}

/// The best first: by soundness, then by how it waits, then by the clock (what is not twice as slow
/// as the fastest is as fast), then by what waiting costs, by privilege, and by what a start costs.
/// What is missing here comes last.
pub(super) fn rank(all: Vec<Candidate>) -> Vec<Candidate> {
    let launch = |c: &Candidate| c.measured.as_ref().and_then(|m| m.launch_ns);
    let idle =
        |c: &Candidate| c.measured.as_ref().and_then(|m| m.idle_cpu_ns).unwrap_or(0) > IDLE_NS;
    // A less reliable mechanism sets no standard for the others.
    let peers = |c: &Candidate| {
        all.iter()
            .filter(|other| other.tier() == c.tier())
            .collect::<Vec<_>>()
    };
    let best = |c: &Candidate, figure: &dyn Fn(&Candidate) -> Option<u64>| {
        peers(c).into_iter().filter_map(figure).min()
    };
    let class = |figure: Option<u64>, best: Option<u64>| match (figure, best) {
        (Some(ns), Some(best)) => u8::from(ns > best.saturating_mul(AS_FAST)),
        // A mechanism that was not measured is not known to be fast.
        (None, Some(_)) => 2,
        (_, None) => 0,
    };
    let keys = all.iter().map(|c| {
        let rows = rows_of_most(&peers(c));
        let slowest = |c: &Candidate| c.slowest_ns(&rows);
        let speed = class(slowest(c), best(c, &slowest));
        let start = class(launch(c), best(c, &launch));
        let costs = (speed, idle(c), c.facts.privileged, start);
        (c.tier(), costs, slowest(c), c.facts.extra_ns, c.id)
    });
    let keys: Vec<_> = keys.collect();
    let mut keyed: Vec<_> = keys.into_iter().zip(all).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The rows in which at least half of those that were measured were measured: in other rows only a
/// few were measured.
fn rows_of_most<'c>(peers: &[&'c Candidate]) -> BTreeSet<&'c str> {
    let measured: Vec<_> = peers.iter().filter_map(|c| c.measured.as_ref()).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for row in measured.iter().flat_map(|m| m.p50_ns.keys()) {
        *times.entry(row).or_default() += 1;
    }
    let most = times.into_iter().filter(|(_, n)| n * 2 >= measured.len());
    most.map(|(row, _)| row).collect()
}
