//! Strategies on kernels that lack something: what they do instead is said, and kills all the same.

use std::os::fd::AsFd;

use harness::sys::fork::worker;
use harness::sys::pidfd;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::common::{Test, ensure, wait_until};
use super::kill::{kill_in, sleeping, text};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP};
use super::place::Place;

pub(crate) fn tests() -> Vec<Test> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    OLDER_KERNELS
        .into_iter()
        .map(|(name, id, without, instead)| {
            Test::new(
                format!("kill::fallback::{name}"),
                &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
                move || older_kernel(id, without, instead),
            )
        })
        .collect()
}

/// Kernels that lack something, the strategy that needs it, what is lacking, and what the report
/// has to say.
type Older = (
    &'static str,
    &'static str,
    &'static [Lacking],
    &'static [(&'static str, Errno)],
);

const OLDER_KERNELS: [Older; 4] = [
    (
        "before_5_14_there_is_no_cgroup_kill",
        "cgroup-kill",
        &[Lacking::File(b"cgroup.kill\0")],
        &[("froze-and-signalled", Errno::ENOENT)],
    ),
    (
        "before_5_2_there_is_no_cgroup_freeze_either",
        "cgroup-kill",
        &[
            Lacking::File(b"cgroup.kill\0"),
            Lacking::File(b"cgroup.freeze\0"),
        ],
        &[
            ("froze-and-signalled", Errno::ENOENT),
            ("did-not-freeze", Errno::ENOENT),
        ],
    ),
    (
        "before_5_2_nobody_is_frozen",
        "freeze-kill",
        &[Lacking::File(b"cgroup.freeze\0")],
        &[("did-not-freeze", Errno::ENOENT)],
    ),
    (
        "before_5_3_processes_are_signalled_by_number",
        "freeze-kill",
        &[Lacking::PidfdOpen],
        &[("signalled-by-number", Errno::ENOSYS)],
    ),
];

/// What an older kernel lacks.
#[derive(Clone, Copy)]
enum Lacking {
    /// A file of a cgroup: its name, with the zero at its end.
    File(&'static [u8]),
    /// `pidfd_open(2)`.
    PidfdOpen,
}

/// The strategy on a kernel that lacks something, which is this one with the killer's system calls
/// answered by a tracer. What it does instead is said, and it kills all the same.
fn older_kernel(id: &str, lacking: &[Lacking], instead: &[(&str, Errno)]) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let killer = worker(0, None, || {
        let held = ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP));
        match held.map_err(text).and_then(|()| kill_in(&place, id, &root)) {
            Ok(report) => {
                let said = report.fallbacks.iter().map(|f| (f.name(), f.errno()));
                i32::from(!said.eq(instead.iter().map(|(name, errno)| (*name, Some(*errno)))))
            }
            Err(_) => 3,
        }
    })
    .map_err(text)?;
    let code = answer_for_an_older_kernel(killer.pid, lacking)?;
    ensure(code == 0, || {
        format!("the killer ended with {code}: 1 means that it did not say so")
    })?;
    wait_until("it is dead", || {
        pidfd::has_exited(root.pidfd.as_fd()) == Ok(true)
    })
}

/// Runs the killer to its end, with every call that needs what is lacking refused. Returns its exit
/// code.
#[cfg(target_arch = "x86_64")]
fn answer_for_an_older_kernel(killer: Pid, lacking: &[Lacking]) -> Result<i32, String> {
    use nix::libc::{SYS_openat, SYS_pidfd_open};

    let all = Some(WaitPidFlag::__WALL);
    waitpid(killer, all).map_err(text)?;
    ptrace::setoptions(
        killer,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
    )
    .map_err(text)?;
    let mut answer = None;
    loop {
        ptrace::syscall(killer, None).map_err(text)?;
        match waitpid(killer, all).map_err(text)? {
            WaitStatus::PtraceSyscall(_) => {
                let mut regs = ptrace::getregs(killer).map_err(text)?;
                if let Some(errno) = answer.take() {
                    regs.rax = i64::from(-(errno as i32)).cast_unsigned();
                    ptrace::setregs(killer, regs).map_err(text)?;
                    continue;
                }
                // At the return of a call this looks at its number once more; a call that was let
                // through is not refused then.
                let entering = regs.rax.cast_signed() == -i64::from(Errno::ENOSYS as i32);
                let call = regs.orig_rax.cast_signed();
                let refused = lacking.iter().find_map(|lack| match lack {
                    Lacking::PidfdOpen if call == SYS_pidfd_open => Some(Errno::ENOSYS),
                    Lacking::File(name) if call == SYS_openat && is_at(killer, regs.rsi, name) => {
                        Some(Errno::ENOENT)
                    }
                    _ => None,
                });
                if entering && refused.is_some() {
                    answer = refused;
                    // No such call: the kernel does nothing, and its answer is replaced when it
                    // returns.
                    regs.orig_rax = u64::MAX;
                    ptrace::setregs(killer, regs).map_err(text)?;
                }
            }
            WaitStatus::Exited(_, code) => return Ok(code),
            WaitStatus::Signaled(..) => return Err("the killer was killed".to_owned()),
            _ => {}
        }
    }
}

/// Whether the text at `address` in a stopped process is this.
#[cfg(target_arch = "x86_64")]
fn is_at(stopped: Pid, address: u64, text: &[u8]) -> bool {
    text.chunks(8).enumerate().all(|(at, part)| {
        let word = ptrace::read(stopped, (address + 8 * at as u64) as ptrace::AddressType);
        word.is_ok_and(|word| word.to_ne_bytes().starts_with(part))
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn answer_for_an_older_kernel(_: Pid, _: &[Lacking]) -> Result<i32, String> {
    Err("the registers of this architecture are not known here".to_owned())
}
