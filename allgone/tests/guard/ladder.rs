//! Each way to run the guard's program, forced.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use allgone::guard::{Guard, GuardError, GuardOptions, Said, Way};
use allgone::sys::guard::PROGRAM;
use nix::errno::Errno;

use crate::Test;
use crate::base::{Base, PATIENCE, PREFIX, Shell};
use crate::deaths::ends_with;

pub(crate) const TESTS: &[Test] = &[
    ("from_memory_first", from_memory_first),
    ("an_installed_program_is_next", an_installed_program_is_next),
    ("a_fork_only_if_allowed", a_fork_only_if_allowed),
    (
        "memory_that_may_not_be_executed",
        memory_that_may_not_be_executed,
    ),
    ("what_seccomp_refuses", what_seccomp_refuses),
    ("a_base_that_is_gone", a_base_that_is_gone),
];

fn works(base: &Base, guard: &Guard) {
    let mut shell = Shell::start(guard, &base.cgroup, 1, "setsid sleep 0.01 & exit 4");
    let Said::Ended(ended) = shell.next() else {
        panic!("the end first")
    };
    assert_eq!(ended.status, 4);
    assert!(matches!(shell.next(), Said::Empty(_)));
    base.cgroup.remove_child(&format!("{PREFIX}1")).unwrap();
}

fn from_memory_first() {
    let base = Base::must();
    let guard = base.guard();
    assert_eq!(guard.way(), &Way::Memory);
    assert!(guard.attempts().is_empty());
    works(&base, &guard);
}

/// The program as a file.
fn install() -> tempfile::TempPath {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(PROGRAM.unwrap()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    file.as_file().set_permissions(mode).unwrap();
    file.into_temp_path()
}

fn an_installed_program_is_next() {
    let base = Base::must();
    let path = install();
    let missing = PathBuf::from("/nowhere/allgone-guard");
    let options = GuardOptions::default().in_memory(false);
    let guard = Guard::start(
        &base.cgroup,
        PREFIX,
        &options.installed([missing.clone(), path.to_path_buf()]),
    );
    let guard = guard.unwrap();
    assert_eq!(guard.way(), &Way::Installed(path.to_path_buf()));
    assert_eq!(
        (&*guard.attempts()[0].way, guard.attempts()[0].errno),
        ("/nowhere/allgone-guard", Errno::ENOENT)
    );
    works(&base, &guard);
}

fn a_fork_only_if_allowed() {
    let base = Base::must();
    let none = GuardOptions::default().in_memory(false).installed([]);
    let error = Guard::start(&base.cgroup, PREFIX, &none).unwrap_err();
    assert!(
        matches!(&error, GuardError::NotRun { attempts } if attempts.is_empty()),
        "{error}"
    );
    assert!(base.is_clear());
    let guard = Guard::start(&base.cgroup, PREFIX, &none.fork(true)).unwrap();
    assert_eq!(guard.way(), &Way::Fork);
    works(&base, &guard);
    let _living = Shell::start(&guard, &base.cgroup, 2, "setsid sleep 1000 & wait");
    drop(guard);
    base.wait_clear(PATIENCE);
}

/// `vm.memfd_noexec` belongs to a PID namespace. Its init is also the subreaper of all there is in
/// it, so the guard becomes its child.
fn memory_that_may_not_be_executed() {
    let base = Base::must();
    let path = install();
    let script = "echo 2 >/proc/sys/vm/memfd_noexec && exec \"$@\"";
    let host = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .arg("host")
        .arg(base.path())
        .arg("ladder")
        .env("ALLGONE_GUARD", &path)
        .output()
        .unwrap();
    let text = String::from_utf8(host.stdout).unwrap();
    assert!(
        host.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&host.stderr)
    );
    let cause = "a file in memory: memfd_create: EACCES: Permission denied (vm.memfd_noexec is 2";
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(cause), "{text}");
    assert!(
        lines[0].contains("install the program `allgone-guard`"),
        "{text}"
    );
    assert!(
        lines[1].starts_with(&format!("{} after {cause}", path.display())),
        "{text}"
    );
    base.wait_clear(PATIENCE);
}

fn what_seccomp_refuses() {
    ends_with(&Base::must(), "no-clone3", "moved");
    ends_with(&Base::must(), "no-memfd", "named");
}

/// That is no matter of how the program is run.
fn a_base_that_is_gone() {
    let base = Base::must();
    let gone = base.cgroup.create("gone").unwrap();
    base.cgroup.remove_child("gone").unwrap();
    let options = GuardOptions::default().fork(true);
    let error = Guard::start(&gone, PREFIX, &options).unwrap_err();
    assert!(matches!(error, GuardError::Sys(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("could not mkdir ") && text.contains("ENO"),
        "{text}"
    );
    // Nor is a name that is taken.
    let _first = base.guard();
    let error = Guard::start(&base.cgroup, PREFIX, &options).unwrap_err();
    assert!(error.to_string().contains("EEXIST"), "{error}");
}
