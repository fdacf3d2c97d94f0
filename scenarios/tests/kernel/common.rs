//! What the tests share: their type, one trial in a run of its own, and the built command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use harness::detect::{self, AnyDetector};
use harness::expect::Plane;
use harness::host::name::{OwnerId, RunName, own_pidns};
use harness::host::{Base, Detected, Options, Surveyed, detect};
use harness::kill::AnyStrategy;
use harness::param;
use harness::record::TrialRecord;
use harness::trial::{
    Conditions, Limits, Protection, Run, RunOptions, TrialError, TrialSpec, Words,
};
use scenarios::Scenario;

use super::needs::Need;

/// One test.
pub(crate) struct Test {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub needs: Vec<Need>,
    /// What it does. A panic is a failure too.
    pub body: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

impl Test {
    /// A test.
    pub(crate) fn new(
        name: impl Into<String>,
        needs: &[Need],
        body: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            needs: needs.to_vec(),
            body: Box::new(body),
        }
    }
}

/// An error unless `condition`; `what` says what was seen.
pub(crate) fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}

/// The cgroup below which this process may make its own. Only called by tests that need one.
pub(crate) fn base() -> &'static Base {
    static HOST: OnceLock<Surveyed> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let options = Options {
            program: None,
            ..Options::here()
        };
        match detect(&options).expect("it was looked at before") {
            Detected::Here(here) => *here,
            Detected::Rerun(_) => unreachable!("no program was given"),
        }
    });
    host.host
        .base
        .as_ref()
        .expect("the test needs a base, and there was one")
}

/// Begins a run in this process.
pub(crate) fn start() -> Run<'static> {
    static COUNT: Mutex<u32> = Mutex::new(0);
    let mut count = COUNT.lock().expect("one thread");
    *count += 1;
    let name = harness::host::run_name().expect("/proc is mounted");
    try_start(&format!("{name}.test{count}")).expect("the run begins")
}

/// As [`start`], under a chosen name.
pub(crate) fn try_start(name: &str) -> Result<Run<'static>, TrialError> {
    let options = RunOptions {
        name: name.to_owned(),
        no_limits: false,
    };
    Run::start(Rc::new(protection()), base(), options)
}

/// The protection of everything that this process makes.
pub(crate) fn protection() -> Protection {
    static INTERRUPTED: Words = Words {
        removed: "interrupted; nothing was left behind\n",
        left: "interrupted, and something was left behind\n",
        guard: "a guard was killed; nothing was left behind\n",
    };
    Protection::begin(None, 1, &INTERRUPTED).expect("it can be protected")
}

/// A trial at the default point of its plane.
pub(crate) fn spec<'a>(
    scenario: &'static dyn Scenario,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
) -> TrialSpec<'a> {
    spec_at(scenario, detector, strategy, &[])
}

/// A trial at the default point of its plane but for some axes of the scenario or the detector.
pub(crate) fn spec_at<'a>(
    scenario: &'static dyn Scenario,
    detector: AnyDetector,
    strategy: Option<AnyStrategy>,
    set: &[(&str, u64)],
) -> TrialSpec<'a> {
    let plane = if strategy.is_some() {
        Plane::Kill
    } else {
        Plane::Detect
    };
    let axes = scenario.spec().axes.iter().chain(detector.spec().axes);
    let axes = axes.chain(strategy.iter().flat_map(|s| s.spec().axes));
    let mut params = param::defaults(axes, plane);
    for (name, value) in set {
        let axes = || scenario.spec().axes.iter().chain(detector.spec().axes);
        let axis = axes().find(|axis| axis.name == *name);
        params.set(axis.expect("scenario or detector has this axis"), *value);
    }
    let script = scenario
        .script(&params, plane, 1)
        .expect("defaults make a script");
    TrialSpec {
        seq: 0,
        scenario: scenario.spec().id,
        workload: scenarios::workload(&script).expect("the script can be handed over"),
        stage: scenario.spec().stage,
        seed: 1,
        detector,
        strategy,
        expected: scenarios::expected(scenario, &params, detector, strategy),
        params,
        deadline: Duration::from_secs(2),
        limits: Limits::default(),
        gap: Duration::from_millis(1),
        conditions: Conditions::default(),
    }
}

/// Plays one trial in a run of its own, which must leave nothing behind.
pub(crate) fn play(spec: &TrialSpec<'_>) -> Result<TrialRecord, String> {
    let mut run = start();
    let record = run.trial(spec);
    let leaks = run
        .finish()
        .map_err(|e| format!("could not clean up: {e}"))?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    record.map_err(|e| e.to_string())
}

/// The detector that watches in the kill plane.
pub(crate) fn reference() -> AnyDetector {
    detect::by_id("cgroup-events-poll").expect("it is registered")
}

/// Where the built command is. In a machine that has it elsewhere `SCENARIO` says where.
pub(crate) fn binary() -> String {
    std::env::var("SCENARIO").unwrap_or_else(|_| env!("CARGO_BIN_EXE_scenario").to_owned())
}

/// The built command, with nothing on standard input and its state below `state`.
pub(crate) fn scenario(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(args)
        .env("XDG_STATE_HOME", state)
        .env_remove("HARNESS_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs the built command and returns code, standard output and standard error.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let state = tempfile::tempdir().expect("a temporary directory");
    told(
        &scenario(state.path(), args)
            .output()
            .expect("the command starts"),
    )
}

/// What a command said.
pub(crate) fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Cgroups of runs of the process `pid` below the base. Its number is of this PID namespace, which
/// others share the base with.
pub(crate) fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let pidns = own_pidns().expect("/proc is here");
    let is_its = |id: OwnerId| id.pid.unsigned_abs() == pid && id.pidns == pidns;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(base().cgroup().path()).expect("the base can be listed") {
        let path = entry.expect("the base can be listed").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if RunName::parse(&name).is_some_and(|RunName(id)| is_its(id)) {
            found.push(path);
        }
    }
    found
}

/// Waits until `done`, checked each millisecond; an error after 20 s.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = harness::sys::time::now() + Duration::from_secs(20);
    while !done() {
        ensure(!deadline.has_passed(), || {
            format!("waited for 20 s until {what}")
        })?;
        // A time-out on no descriptors at all: there is no event for what is waited for here.
        nix::poll::poll(&mut [], 1u8).map_err(|e| e.to_string())?;
    }
    Ok(())
}
