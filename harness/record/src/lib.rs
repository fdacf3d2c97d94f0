//! The record of a trial: one JSON line. No operating-system calls in here.
//!
//! Stamps are integer nanoseconds of `CLOCK_MONOTONIC`. Fields are only ever added; a change of
//! meaning raises [`SCHEMA`]. No field is flattened and no enum is untagged, so that a reader in
//! another language is simple.

mod cause;
mod earlier;
mod entry;
mod error;
mod fallback;
pub mod figures;
mod kill;
mod lines;
mod note;
mod plane;
mod program;
mod scale;
mod scope;
mod times;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use cause::Cause;
pub use entry::Entry;
pub use error::ErrorRecord;
pub use fallback::{Fallback, FallbackKind};
pub use kill::KillReport;
pub use lines::{ReadError, fault, read_lines, write_line};
pub use note::Note;
pub use plane::{Canary, Plane};
pub use program::{ProgramRecord, TruthSource};
pub use scale::{ScaleNote, ScaleRecord};
pub use scope::sees_the_cgroup;
pub use times::{Elapsed, KillTimes};
pub use verdict::{Counters, Verdict};

/// Version of the record format.
///
/// - 2: reasons are names where a reader has to tell them apart ([`TrialRecord::expectation`],
///   [`Survivor::reason`], the `errno` of [`Verdict::Unknown`]); `reused_ns` was `framed_ns`.
/// - 3: the outcome `cannot-tell`, in trials of programs ([`TrialRecord::program`]).
/// - 3: [`Entry`], [`Note`], [`ScaleNote`] and [`Fallback`] have kinds; each was one text.
pub const SCHEMA: u32 = 3;

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The run it belongs to.
    pub run: String,
    /// Place in the run's order, from 0.
    pub seq: u32,
    /// Complete block it belongs to, from 0. Absent where a record is older than blocks were
    /// recorded.
    #[serde(default)]
    pub block: Option<u32>,
    /// Which of several identical rows (A/A cells), from 0.
    #[serde(default)]
    pub twin: u32,
    /// Detect or kill.
    pub plane: Plane,
    /// Scenario id.
    pub scenario: String,
    /// Detector id; in the kill plane that of the reference whose turn it was.
    pub detector: String,
    /// Strategy id, in the kill plane.
    pub strategy: Option<String>,
    /// Values of all axes.
    pub params: BTreeMap<String, u64>,
    /// Seed of the scenario's script.
    pub seed: u64,
    /// Idle time before the detector was armed. Absent where a record is older than gaps were
    /// drawn.
    #[serde(default)]
    pub gap_ns: Option<u64>,
    /// How the workload came into its cgroup. Absent if the trial broke before it was started.
    #[serde(default, deserialize_with = "earlier::one")]
    pub entry: Option<Entry>,
    /// When things happened.
    pub stamps: Stamps,
    /// The stages from exit to verdict, in a run with tracing.
    #[serde(default)]
    pub stages: Option<Stages>,
    /// What the detector said. Absent if the trial broke before.
    pub verdict: Option<Verdict>,
    /// What the harness concludes.
    pub outcome: Outcome,
    /// What was expected, in words, with the reason.
    pub expected: String,
    /// The same as a name: `sound`, `early`, `may-be-early`, `never-fires`, `removed`,
    /// `may-be-lost`, `not-applicable`; of a strategy `empties`, `may-survive`, `survives`; of a
    /// detector of a program `sound-if-it-ends`, `none`. Absent where nothing was expected (a
    /// broken trial), and in records of schema 1.
    #[serde(default)]
    pub expectation: Option<String>,
    /// Whether the outcome is as expected.
    pub held: bool,
    /// Why not, or why the trial broke.
    #[serde(default, deserialize_with = "earlier::one")]
    pub note: Option<Note>,
    /// Why the trial broke, by kind. Absent where it did not, and in records that are older than
    /// kinds.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// What the wait took.
    pub counters: Counters,
    /// CPU time of the observer between arm and disarm.
    pub cpu_ns: Option<u64>,
    /// What the observer cost while the tree slept, if it slept long enough.
    #[serde(default)]
    pub idle: Option<IdleRecord>,
    /// What the actors wrote into the ledger.
    pub ledger: LedgerRecord,
    /// The workload, if it is not a scenario's but any program, and how the truth about it is
    /// known.
    #[serde(default)]
    pub program: Option<ProgramRecord>,
    /// What the strategy did.
    pub kill: Option<KillReport>,
    /// The processes that survived the kill, with the reasons.
    pub survivors: Vec<Survivor>,
    /// Canaries that the strategy hit.
    pub canaries_hit: Vec<Canary>,
    /// Errors after which the trial went on: operation, target, errno.
    pub errors: Vec<ErrorRecord>,
}

impl TrialRecord {
    /// The record of a trial of which nothing is known yet. As long as it stays so, the trial is
    /// broken.
    pub fn blank(run: &str, seq: u32, plane: Plane, scenario: &str, detector: &str) -> Self {
        Self {
            schema: SCHEMA,
            run: run.to_owned(),
            seq,
            block: None,
            twin: 0,
            plane,
            scenario: scenario.to_owned(),
            detector: detector.to_owned(),
            strategy: None,
            params: BTreeMap::new(),
            seed: 0,
            gap_ns: None,
            entry: None,
            stamps: Stamps::default(),
            stages: None,
            verdict: None,
            outcome: Outcome::Broken,
            expected: String::new(),
            expectation: None,
            held: false,
            note: None,
            cause: None,
            counters: Counters::default(),
            cpu_ns: None,
            idle: None,
            ledger: LedgerRecord::default(),
            program: None,
            kill: None,
            survivors: Vec::new(),
            canaries_hit: Vec::new(),
            errors: Vec::new(),
        }
    }
}

/// When things happened, in nanoseconds of `CLOCK_MONOTONIC`. What did not happen is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamps {
    /// When the workload was meant to be started, in an open loop: a late start is part of the
    /// latency.
    #[serde(default)]
    pub intended_ns: Option<u64>,
    /// The detector was armed.
    pub armed_ns: Option<u64>,
    /// The spawn was begun.
    pub spawn_ns: Option<u64>,
    /// The spawn had returned.
    pub spawned_ns: Option<u64>,
    /// The first stamp of the workload itself: its program had been exec'd and ran.
    #[serde(default)]
    pub running_ns: Option<u64>,
    /// The tree was as it is meant to be when it is killed.
    pub ready_ns: Option<u64>,
    /// A canary was given the number of a member that had just been reaped. Absent where no number
    /// was freed before the end, or where the harness may not choose numbers
    /// (`CAP_CHECKPOINT_RESTORE`, Linux 5.5).
    #[serde(default, alias = "framed_ns")]
    pub reused_ns: Option<u64>,
    /// Truth, lower bound: the last process had not ended before this.
    pub over_lower_ns: Option<u64>,
    /// Truth, upper bound: everything had ended by then.
    pub over_upper_ns: Option<u64>,
    /// The oracle's first read of `populated 0`.
    pub unpopulated_ns: Option<u64>,
    /// All children and orphans were reaped. The main process is a child of the observer, so this
    /// is not before the observer's verdict.
    pub reaped_ns: Option<u64>,
    /// `rmdir` of the site was accepted. In the kill plane it is tried as soon as `populated 0` was
    /// seen and the observer has its verdict.
    pub removed_ns: Option<u64>,
}

/// What an observer cost between two moments at which the tree that it watched slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleRecord {
    /// Time between the first and the last sample.
    pub window_ns: u64,
    /// CPU time of the observer in that time.
    pub cpu_ns: u64,
    /// Times that it went back to sleep voluntarily in that time. An observer that never sleeps has
    /// none.
    pub wakeups: u64,
    /// Number of samples.
    pub samples: u32,
}

impl IdleRecord {
    /// CPU time for each second of waiting, in nanoseconds.
    pub fn cpu_ns_per_s(&self) -> u64 {
        let scaled = u128::from(self.cpu_ns) * 1_000_000_000 / u128::from(self.window_ns.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// The stages from the last exit to the verdict, as seen by tracing. Only in runs with tracing,
/// which changes what it measures. Nanoseconds of `CLOCK_MONOTONIC`; what was not seen is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stages {
    /// `sched_process_exit` of the process that ended last.
    pub exit_ns: Option<u64>,
    /// The mechanism's own state flipped: `cgroup_notify_populated` for the site, or the signal to
    /// the parent for `wait` and pidfd.
    pub flip_ns: Option<u64>,
    /// `sched_waking` of the observer for the last time before it decided.
    pub waking_ns: Option<u64>,
    /// `sched_switch` to the observer after that.
    pub running_ns: Option<u64>,
}

/// How much the machine was disturbed, measured by a control that only spins and reads the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoiseRecord {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The block before which it was measured.
    pub block: u32,
    /// When it began.
    pub began_ns: u64,
    /// How long it spun.
    pub spun_ns: u64,
    /// Reads of the clock.
    pub looks: u64,
    /// Gaps between two reads that were longer than 10 us.
    pub gaps: u32,
    /// Sum of those gaps: time that something else used.
    pub lost_ns: u64,
    /// The longest gap.
    pub longest_ns: u64,
    /// How long the campaign then waited for a quiet machine. The figures above are of the first
    /// spin, before any waiting.
    #[serde(default)]
    pub waited_ns: u64,
}

impl NoiseRecord {
    /// The share of its time that the control lost, in thousandths.
    pub fn lost_permille(&self) -> u64 {
        self.lost_ns.saturating_mul(1_000) / self.spun_ns.max(1)
    }
}

/// What the harness concludes from the verdict and the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Said "empty", and it was.
    Right,
    /// Said "empty" while a process was alive.
    Early,
    /// All had ended, and it had not said so by the deadline.
    Missed,
    /// Nothing had ended by the deadline, and it said nothing.
    StillRunning,
    /// It decided between the last moment at which something was certainly alive and the first at
    /// which all were certainly gone. Only of programs: a scenario's actors stamp their ends.
    CannotTell,
    /// Said that the site was removed.
    Removed,
    /// Said that it does not know.
    Unknown,
    /// Kill plane: nothing left.
    Emptied,
    /// Kill plane: something left.
    Survived,
    /// The trial broke; `note` says how.
    Broken,
    /// The run was interrupted during the trial.
    Interrupted,
}

/// Sums of the ledger at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Processes born.
    pub births: u32,
    /// Exits stamped.
    pub deaths: u32,
    /// Forks refused by a limit.
    pub refused: u32,
}

/// A process of the set that survived the kill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Process id.
    pub pid: i32,
    /// Its command name.
    pub comm: String,
    /// State letter of `/proc/<pid>/stat`.
    pub state: String,
    /// Its cgroup v2 path.
    pub cgroup: String,
    /// The most likely reason why it is alive: a name such as `not-signalled`, in records of schema
    /// 1 words.
    pub reason: String,
    /// What that is concluded from.
    pub evidence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a program of schema 1 wrote it.
    const OLD: &[&str] = &[
        r#"{"schema":1,"run":"r","seq":0,"plane":"kill","scenario":"s","detector":"d","#,
        r#""strategy":"k","params":{},"seed":1,"entry":"born","stamps":{"armed_ns":1,"#,
        r#""spawn_ns":2,"spawned_ns":3,"ready_ns":4,"framed_ns":5,"over_lower_ns":6,"#,
        r#""over_upper_ns":null,"unpopulated_ns":null,"reaped_ns":null,"removed_ns":null},"#,
        r#""verdict":{"kind":"unknown","at_ns":7,"why":"x"},"outcome":"survived","#,
        r#""expected":"leaves survivors: y","held":true,"note":null,"counters":{"wakeups":0,"#,
        r#""spurious":0,"reads":0,"overflows":0,"reaped":0,"prepare_ns":0},"cpu_ns":null,"#,
        r#""ledger":{"births":1,"deaths":0,"refused":0},"kill":null,"survivors":[{"pid":8,"#,
        r#""comm":"c","state":"S","cgroup":"/","reason":"not killed","evidence":"e"}],"#,
        r#""canaries_hit":[],"errors":[]}"#,
    ];

    fn read(line: &str) -> TrialRecord {
        read_lines(line.as_bytes()).next().unwrap().unwrap()
    }

    #[test]
    fn a_record_of_schema_1_can_be_read() {
        let old = read(&OLD.concat());
        assert_eq!((&old.entry, &old.note), (&Some(Entry::Born), &None));
        assert_eq!((old.schema, old.stamps.reused_ns), (1, Some(5)));
        assert_eq!((old.expectation.as_deref(), old.cause), (None, None));
        assert_eq!(old.survivors[0].reason, "not killed");
        assert!(matches!(
            old.verdict,
            Some(Verdict::Unknown { errno: None, .. })
        ));
    }

    #[test]
    fn a_record_has_one_name_for_each_thing_and_a_newer_one_is_refused() {
        let mut new = read(&OLD.concat());
        new.schema = SCHEMA;
        let mut line = Vec::new();
        write_line(&mut line, &new).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert!(text.contains("\"reused_ns\":5") && !text.contains("framed_ns"));
        let newer = text.replace("{\"schema\":3", "{\"schema\":4");
        assert!(matches!(
            read_lines(newer.as_bytes()).next(),
            Some(Err(ReadError::Schema { found: 4, .. }))
        ));
    }

    #[test]
    fn words_of_earlier_schemas_become_kinds_and_are_written_as_such() {
        let moved = Entry::Moved {
            errno: "ENOSYS".to_owned(),
        };
        for (words, entry) in [
            ("", None),
            ("none", Some(Entry::None)),
            (
                "moved: clone3 into the cgroup was refused with ENOSYS",
                Some(moved),
            ),
        ] {
            let line = OLD
                .concat()
                .replace("\"entry\":\"born\"", &format!("\"entry\":\"{words}\""))
                .replace("\"note\":null", "\"note\":\"n\"");
            let old = read(&line);
            assert_eq!(old.entry, entry);
            assert_eq!(old.note.as_ref().unwrap().to_string(), "n");
            let mut line = Vec::new();
            write_line(&mut line, &old).unwrap();
            assert_eq!(read(&String::from_utf8(line).unwrap()), old);
        }
    }

    #[test]
    fn each_kind_has_its_name() {
        let json = |note: Note| serde_json::to_string(&note).unwrap();
        assert_eq!(
            json(Note::WasAlive { pid: 7 }),
            r#"{"kind":"was-alive","pid":7}"#
        );
        assert_eq!(json(Note::Interrupted), r#"{"kind":"interrupted"}"#);
        let hit = Note::CanariesHit {
            canaries: vec![Canary::SameUid],
        };
        assert_eq!(
            json(hit),
            r#"{"kind":"canaries-hit","canaries":["same-uid"]}"#
        );
        let entry = serde_json::to_string(&Entry::Born).unwrap();
        assert_eq!(entry, r#"{"kind":"born"}"#);
    }
}
