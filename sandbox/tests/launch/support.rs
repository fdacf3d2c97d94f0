//! Starting runs, and looking for what they left.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use allgone::MonoNs;
use allgone::layout::{Layout, Paths};
use allgone::sys::time::now;
use sandbox::launch::{Completion, Launch, Launcher, Program, Run, Stream};
use sandbox::tier::Tier;

#[path = "../support/mod.rs"]
mod shared;

use shared::bearing;
pub(crate) use shared::{has, within};

/// A test.
pub(crate) type Test = (&'static str, fn());

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To become other users.
    Root,
    /// To be the init of a namespace, in a tree of cgroups of its own.
    Systemd,
}

/// What is missing here, so that the test is ignored; what `HARNESS_REQUIRE` names may not be.
pub(crate) fn missing(needs: Needs) -> Option<String> {
    let (name, why) = match needs {
        Needs::Root => ("root", no_root()),
        Needs::Systemd => ("systemd", no_root().or_else(no_systemd)),
    };
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    if let Some(why) = &why {
        assert!(
            !required.split(',').any(|it| it == name),
            "{name} is required: {why}"
        );
    }
    why
}

fn no_root() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "not root".to_owned())
}

fn no_systemd() -> Option<String> {
    for file in ["/lib/systemd/systemd", "/usr/bin/bwrap", "/usr/bin/unshare"] {
        if !std::path::Path::new(file).exists() {
            return Some(format!(
                "no {file} (Debian: systemd, bubblewrap, util-linux)"
            ));
        }
    }
    let own = own_cgroup().ok_or("no cgroup (v2)".to_owned());
    own.and_then(|own| {
        let probe = own.join(format!("test-{}", mark()));
        std::fs::create_dir(&probe)
            .and_then(|()| std::fs::remove_dir(&probe))
            .map_err(|e| format!("no cgroup may be made: {e}"))
    })
    .err()
}

/// The variable that makes this program a host.
pub(crate) const ROLE: &str = "LAUNCH_ROLE";

/// One for all tests.
pub(crate) fn launcher() -> &'static Launcher {
    static LAUNCHER: OnceLock<Launcher> = OnceLock::new();
    LAUNCHER.get_or_init(|| Launcher::start(&Program::This).unwrap())
}

/// This program as a host that does what `role` says.
pub(crate) fn host(role: &str) -> Command {
    let mut host = Command::new("/proc/self/exe");
    host.env(ROLE, role);
    host
}

pub(crate) fn soon() -> MonoNs {
    now() + Duration::from_secs(60)
}

/// `sh -c SCRIPT` without streams, by each tier that works here.
pub(crate) fn by_each_tier(script: &str) -> Vec<Launch> {
    let tiers = Tier::ALL.into_iter().filter(|tier| works(*tier));
    let all: Vec<Launch> = tiers.map(|tier| shell(script).tier(tier)).collect();
    assert!(!all.is_empty());
    all
}

pub(crate) fn works(tier: Tier) -> bool {
    static WORKING: OnceLock<Vec<Tier>> = OnceLock::new();
    let working = WORKING.get_or_init(|| {
        let works = |tier: &Tier| {
            let mut run = shell("true").tier(*tier).spawn(launcher()).unwrap();
            run.wait(soon()).is_ok()
        };
        Tier::ALL.into_iter().filter(works).collect()
    });
    working.contains(&tier)
}

pub(crate) fn shell(script: &str) -> Launch {
    Launch::builder("sh")
        .args(["-c", script])
        .stdin(Stream::Null)
        .stdout(Stream::Null)
        .stderr(Stream::Null)
}

/// To its end.
pub(crate) fn ended(mut run: Run) -> Completion {
    run.wait(soon()).unwrap().expect("it ends").clone()
}

/// A mark that no other run has.
pub(crate) fn mark() -> String {
    format!("{}-{}", std::process::id(), now().0)
}

/// Processes with `ALLGONE_MARK=mark` in their environment.
pub(crate) fn alive(mark: &str) -> Vec<String> {
    bearing(&format!("ALLGONE_MARK={mark}"))
}

/// No process a second later at most.
pub(crate) fn nothing_left(mark: &str) {
    let gone = within(Duration::from_secs(1), || alive(mark).is_empty());
    assert!(gone, "still there: {:?}", alive(mark));
}

/// The cgroup of this process, in which those of runs are made.
pub(crate) fn own_cgroup() -> Option<PathBuf> {
    Layout::read(&Paths::default()).unwrap().own_v2().ok()
}
