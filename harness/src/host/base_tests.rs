//! The order of attempts and what is said about them, on machines made of files. Whether a cgroup
//! really qualifies is tried on the running kernel, in `tests/host.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;

use super::*;
use crate::cgroup::Cgroup;
use crate::error::SysError;
use crate::host::LimitSource;
use std::os::unix::fs::MetadataExt;

/// A machine: a directory with `proc`, `run` and `cg`.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(mountinfo: &str, own: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.put(
            "proc/self/mountinfo",
            &mountinfo.replace("@", machine.0.path().to_str().unwrap()),
        );
        machine.put("proc/self/cgroup", own);
        machine.put("proc/filesystems", "nodev\tcgroup\nnodev\tcgroup2\n");
        machine
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn with_systemd(self) -> Self {
        fs::create_dir_all(self.0.path().join("run/systemd/system")).unwrap();
        self
    }

    /// A `systemd-run` that notes its arguments and runs `script`.
    fn systemd_run(&self, script: &str) -> PathBuf {
        let noted = self.0.path().join("noted");
        let text = format!("#!/bin/sh\necho \"$@\" >>{}\n{script}\n", noted.display());
        let path = self.put("bin/systemd-run", &text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn noted(&self) -> String {
        fs::read_to_string(self.0.path().join("noted")).unwrap_or_default()
    }

    fn options(&self) -> Options {
        Options {
            paths: Paths::below(self.0.path()),
            ..Options::default()
        }
    }

    fn program(&self, script: &str) -> Option<Program> {
        Some(Program {
            exe: "/opt/scenario".into(),
            args: vec!["forkbomb".into(), "--seed".into(), "7".into()],
            systemd_run: self.systemd_run(script),
            in_scope: false,
        })
    }

    /// Searches; every place but `good` is refused with EACCES. Returns what was tried, too.
    fn search(
        &self,
        options: &Options,
        euid: u32,
        good: &str,
    ) -> (Result<Found, NoBase>, Vec<String>) {
        let mut tried = Vec::new();
        let layout = Layout::read(&options.paths).unwrap();
        let found = search(options, &layout, euid, &mut |candidate| {
            let path = candidate
                .path
                .strip_prefix(self.0.path())
                .unwrap_or(&candidate.path);
            tried.push(path.display().to_string());
            if path == Path::new(good) {
                Ok(Held {
                    base: Base::given(
                        Cgroup::open(self.0.path())?,
                        LimitSource::None,
                        "scenario-test".to_owned(),
                    ),
                    delegation: Delegation::default(),
                })
            } else {
                Err(SysError::path("mkdir", &candidate.path, Errno::EACCES).into())
            }
        });
        (found, tried)
    }
}

const UNIFIED: &str = "1 1 0:1 / @/cg rw,nsdelegate - cgroup2 cgroup2 rw\n";
const HYBRID: &str = "1 1 0:1 / @/cg/pids rw - cgroup cgroup rw,pids\n\
    2 1 0:2 / @/cg/unified rw - cgroup2 cgroup2 rw\n";

#[test]
fn own_cgroup_comes_first_then_the_hybrid_mount() {
    let machine = Machine::new(HYBRID, "1:pids:/\n0::/a/b\n");
    let (found, tried) = machine.search(&machine.options(), 0, "cg/unified/a/b");
    assert!(matches!(found, Ok(Found::Here(_))));
    assert_eq!(tried, ["cg/unified/a/b"]);
    let (found, tried) = machine.search(&machine.options(), 0, "cg/unified");
    assert!(matches!(found, Ok(Found::Here(_))));
    assert_eq!(tried, ["cg/unified/a/b", "cg/unified"]);
    // On a unified machine the mount's root belongs to the service manager.
    let machine = Machine::new(UNIFIED, "0::/a\n");
    let (found, tried) = machine.search(&machine.options(), 0, "cg");
    assert!(found.is_err());
    assert_eq!(tried, ["cg/a"]);
}

#[test]
fn a_named_cgroup_is_the_only_one_tried() {
    let machine = Machine::new(UNIFIED, "0::/a\n").with_systemd();
    let options = Options {
        cgroup: Some("/named".into()),
        program: machine.program("exec true"),
        ..machine.options()
    };
    let (found, tried) = machine.search(&options, 0, "cg/a");
    let error = found.unwrap_err();
    assert_eq!(tried, ["/named"]);
    assert_eq!(error.attempts.len(), 1);
    assert_eq!(machine.noted(), "");
    assert!(error.to_string().contains("leave out --cgroup"), "{error}");
}

#[test]
fn under_systemd_the_program_is_run_again_in_a_scope() {
    let machine = Machine::new(UNIFIED, "0::/session.scope\n").with_systemd();
    let options = Options {
        program: machine.program("while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\""),
        ..machine.options()
    };
    let (found, _) = machine.search(&options, 1000, "nowhere");
    let Ok(Found::Rerun(rerun)) = found else {
        panic!("{found:?}")
    };
    let scope = "--scope --quiet --collect --no-ask-password -p Delegate=yes --";
    assert_eq!(
        machine.noted(),
        format!("--user {scope} true\n"),
        "it was tried"
    );
    let args: Vec<_> = rerun
        .command
        .get_args()
        .map(|a| a.to_str().unwrap())
        .collect();
    assert_eq!(
        args.join(" "),
        format!("--user {scope} /opt/scenario forkbomb --seed 7")
    );
    let guard = rerun
        .command
        .get_envs()
        .find(|(name, _)| *name == rerun::GUARD);
    assert_eq!(guard.unwrap().1.unwrap(), "1");
    assert!(rerun.why.contains("--user"), "{}", rerun.why);
    // Root asks the system's manager.
    let (found, _) = machine.search(&options, 0, "nowhere");
    let Ok(Found::Rerun(rerun)) = found else {
        panic!("{found:?}")
    };
    assert!(rerun.command.get_args().all(|a| a != "--user"));
}

#[test]
fn it_is_run_again_only_once() {
    let machine = Machine::new(UNIFIED, "0::/run-r1.scope\n").with_systemd();
    let mut options = Options {
        program: machine.program("exit 0"),
        ..machine.options()
    };
    options.program.as_mut().unwrap().in_scope = true;
    let (found, _) = machine.search(&options, 0, "nowhere");
    let error = found.unwrap_err();
    assert_eq!(machine.noted(), "", "systemd-run is not even tried");
    assert!(error.to_string().contains(rerun::GUARD), "{error}");
}

#[test]
fn a_systemd_run_that_fails_is_an_attempt_with_its_own_words() {
    let machine = Machine::new(UNIFIED, "0::/a\n").with_systemd();
    let options = Options {
        program: machine.program("echo 'Failed to connect to bus: No medium found' >&2; exit 1"),
        ..machine.options()
    };
    let error = machine.search(&options, 1000, "nowhere").0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Failed to connect to bus: No medium found"),
        "{error}"
    );
    let missing = Options {
        program: Some(Program {
            systemd_run: "/nonexistent/systemd-run".into(),
            ..options.program.clone().unwrap()
        }),
        ..options
    };
    let error = machine.search(&missing, 1000, "nowhere").0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/nonexistent/systemd-run does not work: No such file"),
        "{error}"
    );
}

#[test]
fn the_advice_fits_the_machine() {
    let says = |machine: &Machine, euid, wanted: &str| {
        let error = machine
            .search(&machine.options(), euid, "nowhere")
            .0
            .unwrap_err();
        assert!(
            error.remedies.iter().any(|r| r.contains(wanted)),
            "{wanted:?} not in: {error}"
        );
        error
    };
    let read_only = Machine::new("1 1 0:1 / @/cg ro - cgroup2 cgroup2 rw\n", "0::/\n");
    read_only.put(".dockerenv", "");
    let error = says(
        &read_only,
        0,
        "--cgroupns=private and -v /sys/fs/cgroup:/sys/fs/cgroup:rw",
    );
    assert!(
        matches!(error.attempts[0].why, Refusal::ReadOnly(_)),
        "{error}"
    );
    fs::remove_file(read_only.0.path().join(".dockerenv")).unwrap();
    says(&read_only, 0, "remount");

    let v1_only = "1 1 0:1 / @/cg/pids rw - cgroup cgroup rw,pids\n";
    says(&Machine::new(v1_only, "1:pids:/\n"), 0, "mount -t cgroup2");
    says(
        &Machine::new(v1_only, "1:pids:/\n").with_systemd(),
        0,
        "systemd.unified_cgroup_hierarchy=1",
    );
    let old = Machine::new(v1_only, "1:pids:/\n");
    old.put("proc/filesystems", "nodev\tcgroup\n");
    says(&old, 0, "no cgroup v2");

    says(&Machine::new(UNIFIED, "0::/a\n"), 1000, "chown -R 1000");
    says(
        &Machine::new(UNIFIED, "0::/a\n").with_systemd(),
        1000,
        "systemctl --user",
    );
    says(
        &Machine::new(UNIFIED, "0::/a\n").with_systemd(),
        0,
        "systemd-run --scope -p Delegate=yes",
    );
}

#[test]
fn the_error_lists_every_attempt_with_its_answer() {
    let machine = Machine::new(HYBRID, "1:pids:/\n0::/a\n");
    let error = machine
        .search(&machine.options(), 1000, "nowhere")
        .0
        .unwrap_err();
    let text = error.to_string();
    for part in [
        "own cgroup",
        "v2 mount",
        "systemd-run",
        "EACCES",
        "/run/systemd/system",
        "help: ",
    ] {
        assert!(text.contains(part), "{part:?} not in: {text}");
    }
}

#[test]
fn a_hidden_own_cgroup_is_said_to_be_hidden() {
    let machine = Machine::new("1 1 0:1 /docker/x @/cg rw - cgroup2 cgroup2 rw\n", "0::/\n");
    let error = machine
        .search(&machine.options(), 0, "nowhere")
        .0
        .unwrap_err();
    assert!(
        error.to_string().contains("outside of what is mounted"),
        "{error}"
    );
}

#[test]
fn controllers_are_only_touched_with_authority() {
    let machine = Machine::new(UNIFIED, "0::/\n").with_systemd();
    let uid = fs::metadata(machine.0.path()).unwrap().uid();
    let options = machine.options();
    let dir = machine.0.path();
    assert!(authority(&options, dir, 0).is_err(), "systemd owns it");
    assert_eq!(
        authority(&options, dir, uid).is_ok(),
        uid != 0,
        "own directory of an ordinary user"
    );
    let named = Options {
        cgroup: Some(dir.to_path_buf()),
        ..options.clone()
    };
    assert!(authority(&named, dir, 0).is_ok());
    fs::remove_dir_all(dir.join("run")).unwrap();
    assert!(authority(&options, dir, 0).is_ok(), "nobody else does");
}
