//! What is asked for and cannot be had: one clear error, and nothing left.

use std::time::Duration;

use sandbox::launch::{Launch, LaunchError, Launcher, Program};
use sandbox::tier::Tier;

use crate::support::{Test, launcher, shell, soon, works};

pub(crate) const TESTS: &[Test] = &[
    ("mistakes::no_such_program", no_such_program),
    ("mistakes::what_makes_no_sense", what_makes_no_sense),
    ("mistakes::no_such_directory", no_such_directory),
    ("mistakes::no_launcher", no_launcher),
    ("mistakes::what_nothing_enforces", what_nothing_enforces),
];

fn no_such_program() {
    for tier in Tier::ALL.into_iter().filter(|tier| works(*tier)) {
        let mut run = Launch::builder("no-such-program")
            .tier(tier)
            .spawn(launcher())
            .unwrap();
        let refused = run.wait(soon()).unwrap_err();
        assert!(matches!(refused, LaunchError::NotFound(_)), "{refused:?}");
        // It stays what it is.
        assert!(matches!(run.try_wait(), Err(LaunchError::NotFound(_))));
        assert!(run.started(soon()).is_ok());
        run.kill().unwrap();
        let mut run = Launch::builder("/etc/passwd")
            .tier(tier)
            .spawn(launcher())
            .unwrap();
        let refused = run.wait(soon()).unwrap_err();
        assert!(
            matches!(refused, LaunchError::NotExecutable(_)),
            "{refused:?}"
        );
    }
}

fn what_makes_no_sense() {
    for (launch, mistake) in [
        (shell("true").timeout(Duration::ZERO), "--timeout"),
        (shell("true").pids(0), "--pids"),
        (shell("true").flag("no-such"), "--no-such"),
        (
            shell("true").tier(Tier::Traced).require(Tier::Namespace),
            "contradict",
        ),
        (Launch::builder(""), "no program"),
        (shell("a\0b"), "zero byte"),
        (shell("true").env("A=B", "c"), "variable"),
        (shell("true").env("A", "b\0"), "variable"),
    ] {
        let told = launch.spawn(launcher()).unwrap_err().to_string();
        assert!(told.contains(mistake), "{told}");
    }
}

fn no_such_directory() {
    let refused = shell("true").current_dir("/no/such").spawn(launcher());
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("/no/such"), "{told}");
}

fn no_launcher() {
    let none = Launcher::start(&Program::At("/no/such".into())).unwrap_err();
    assert!(none.to_string().contains("/no/such"), "{none}");
    let none = Launcher::start(&Program::At("/etc/passwd".into())).unwrap_err();
    assert!(none.to_string().contains("execveat"), "{none}");
    // A program that is none of these ends at once, and says nothing.
    let wrong = Launcher::start(&Program::At("/bin/true".into())).unwrap();
    let refused = shell("true").spawn(&wrong).unwrap_err();
    assert!(matches!(refused, LaunchError::Died), "{refused:?}");
}

fn what_nothing_enforces() {
    let asked = || shell("true").tier(Tier::Traced).pids(5);
    if !works(Tier::Traced) {
        return;
    }
    let mut run = asked().spawn(launcher()).unwrap();
    let refused = run.wait(soon()).unwrap_err();
    assert!(
        matches!(&refused, LaunchError::Refused { kind, .. } if kind == "limit"),
        "{refused:?}"
    );
    let mut run = asked().best_effort().spawn(launcher()).unwrap();
    let over = run.wait(soon()).unwrap().unwrap();
    assert_eq!(over.report["asked"][0]["enforced"], false);
}
