//! An ordinary container, as `docker run` makes it and `docker exec` enters it: namespaces made
//! from outside, Docker's default capabilities and refused system calls, cgroups that are
//! read-only, no way to a namespace of one's own.
//!
//! Its first process is a shell. It reaps, starts the launcher as its child, and in the end counts
//! what is left in the container beside itself.
//!
//! Source of both lists: Docker's documentation, "Linux kernel capabilities" and "Seccomp security
//! profiles for Docker".

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::libc;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::ends::HOSTILE;
use crate::support::{Whose, binary, code, errors, users};
use crate::traced::{BOMB, HOP, HOPPERS};

const CAPABILITIES: &str = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,\
                            +setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,\
                            +audit_write";

/// Refused whatever their arguments. `ptrace` is not among them since Linux 4.8.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mbind,
    libc::SYS_mount,
    libc::SYS_move_pages,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// `CLONE_NEW…`: clone is refused with any of them.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

pub(crate) fn refuse(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// For clone(2): any flag that makes a namespace.
pub(crate) fn namespaces_refused() -> Vec<SeccompRule> {
    let with = |flag: libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        let (length, operator) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag));
        let condition = SeccompCondition::new(0, length, operator, flag).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    NAMESPACES.map(with).into()
}

/// Puts the profile on this thread, and executes what `CONTAINER_COMMAND` says.
#[test]
#[ignore = "it is the way into the container of the other tests"]
fn enter() {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, namespaces_refused());
    refuse(rules, libc::EPERM);
    refuse([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS);
    let command = std::env::var("CONTAINER_COMMAND").unwrap();
    let mut words = command.split(BETWEEN);
    let mut program = Command::new(words.next().unwrap());
    panic!("{}", program.args(words).exec());
}

/// Between words of a command.
const BETWEEN: char = '\u{1f}';

/// What the first process does: everything to do with cgroups becomes read-only; then the launcher
/// is started, and killed if `CONTAINER_KILL` says when; then what is left a second later at most,
/// or at once if it ended by itself, is listed.
const FIRST: &str = "
    mapfile -t mounts < /proc/self/mounts
    for mount in \"${mounts[@]}\"; do
        read -r _ where kind _ <<< \"$mount\"
        case $kind in cgroup*) mount -o remount,bind,ro \"$where\" || exit 99;; esac
    done
    mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys || exit 99
    looks=1
    setpriv --bounding-set \"$CAPABILITIES\" \"$ENTER\" --exact container::enter --ignored \\
        --nocapture &
    launcher=$!
    if [ -n \"$CONTAINER_KILL\" ]; then
        looks=100
        sleep \"$CONTAINER_KILL\"
        kill -KILL $launcher
    fi
    wait $launcher
    ended=$?
    while [ $looks -gt 0 ]; do
        left=(/proc/[0-9]*)
        [ \"${left[*]}\" = /proc/1 ] && break
        looks=$((looks - 1))
        [ $looks -gt 0 ] && sleep 0.01
    done
    for one in \"${left[@]}\"; do
        [ $one = /proc/1 ] || { read -r line < $one/stat; echo \"left: $line\" >&2; }
    done
    exit $ended";

/// A command in a container of its own.
fn inside(whose: Whose, command: &[&str], env: &[(&str, &str)]) -> Output {
    let mut words = Vec::new();
    if whose == Whose::Ordinary && nix::unistd::geteuid().is_root() {
        words.extend(["setpriv", "--reuid", "65534", "--regid", "65534"]);
        words.push("--clear-groups");
    }
    words.extend(command);
    let mut container = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        container.args(["--user", "--map-root-user"]);
    }
    container
        .args([
            "--mount", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "--net",
        ])
        .args(["--mount-proc", "--kill-child", "bash", "-c", FIRST])
        .env("CAPABILITIES", CAPABILITIES)
        .env("ENTER", std::env::current_exe().unwrap())
        .env("CONTAINER_COMMAND", words.join(&BETWEEN.to_string()))
        .env("HOP", HOP)
        .envs(env.iter().copied())
        .current_dir("/");
    container.output().unwrap()
}

fn launcher(whose: Whose, args: &[&str], env: &[(&str, &str)]) -> Output {
    let binary = binary();
    let command = [&[binary.path(), "run"], args].concat();
    inside(whose, &command, env)
}

/// What the first process has found beside itself.
fn left(output: &Output) -> Vec<String> {
    let errors = errors(output);
    let left = errors.lines().filter(|line| line.starts_with("left: "));
    left.map(ToOwned::to_owned).collect()
}

/// All programs that do not end by themselves.
fn payloads() -> Vec<(&'static str, &'static str)> {
    let resist = HOSTILE.into_iter();
    resist
        .chain([("hoppers", HOPPERS), ("bomb", BOMB)])
        .collect()
}

/// How often each is run: once, or as often as the environment says.
fn runs() -> u32 {
    std::env::var("LAUNCHER_RUNS").map_or(1, |count| count.parse().unwrap())
}

#[test]
fn the_traced_tier_is_taken_and_says_why() {
    for &whose in users() {
        let output = launcher(whose, &["-v", "--", "sh", "-c", "exit 3"], &[]);
        let said = errors(&output);
        assert_eq!(code(&output), 3, "{said}");
        assert!(said.contains("not by tier namespace"), "{said}");
        assert!(said.contains("tier traced"), "{said}");
        assert!(said.contains("no tracee and no child left"), "{said}");
        assert_eq!(left(&output), Vec::<String>::new());
        let output = launcher(whose, &["--require", "namespace", "true"], &[]);
        assert_eq!(code(&output), 125, "{}", errors(&output));
    }
}

#[test]
fn nothing_is_left_at_the_deadline() {
    for _ in 0..runs() {
        for &whose in users() {
            for (name, script) in payloads() {
                let args = ["-t", "300ms", "--", "bash", "-c", script];
                let output = launcher(whose, &args, &[]);
                let said = errors(&output);
                assert_eq!(code(&output), 124, "{name} {whose:?}: {said}");
                assert_eq!(left(&output), Vec::<String>::new(), "{name} {whose:?}");
            }
        }
    }
}

#[test]
fn nothing_is_left_a_second_after_the_launcher_was_killed() {
    for at in 0..runs() {
        for &whose in users() {
            for (name, script) in payloads() {
                let kill = format!("0.{:03}", 37 * (at + 1) % 400);
                let args = ["--", "bash", "-c", script];
                let output = launcher(whose, &args, &[("CONTAINER_KILL", &kill)]);
                assert_eq!(code(&output), 137, "{name} {whose:?}: {}", errors(&output));
                assert_eq!(
                    left(&output),
                    Vec::<String>::new(),
                    "{name} {kill} {whose:?}"
                );
            }
        }
    }
}

/// That the container does not end by itself what is left in it, and the look finds it.
#[test]
fn other_launchers_leave_something() {
    let daemon = HOSTILE[0].1;
    for command in [
        &["timeout", "-k", "0.1", "0.3", "sh", "-c", daemon][..],
        &["setsid", "-w", "sh", "-c", daemon],
        &[
            "sh",
            "-c",
            "setsid sh -c \"$0; sleep 9\" & sleep 0.3; kill -KILL -$!",
            daemon,
        ],
    ] {
        let output = inside(Whose::Own, command, &[]);
        assert!(
            !left(&output).is_empty(),
            "{command:?}: {}",
            errors(&output)
        );
    }
}
