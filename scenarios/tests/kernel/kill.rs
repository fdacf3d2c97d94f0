//! Rules of killing: nobody outside is hit by way of a reused number, pid 0 is never signalled, who died first is counted, and what is
//! done instead of what was asked for is said.

use std::os::fd::AsFd;
use std::time::Duration;

use harness::cgroup::CgroupError;
use harness::host::bugs::{self, Presence};
use harness::kill::{self, AnyStrategy, KillReport};
use harness::record::Outcome;
use harness::sys::fork::{Worker, worker, worker_as};
use harness::sys::privilege::become_user;
use harness::sys::spawn::{CLONE_NEWPID, Credentials};
use harness::sys::{pidfd, time};
use harness::trial::survivors::Reason;
use harness::trial::{Root, SpawnPlan};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use scenarios::Op;
use scenarios::script::FOREVER;

use super::common::{Test, base, ensure, play, reference, spec, wait_until};
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP, PID_NAMESPACE, PIDS_LIMIT, ROOT};
use super::place::{Place, sleep_for_ever, workload};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "kill::a_killed_cgroup_is_never_used_again",
            &[CGROUP2_WRITE, PIDS_LIMIT, "cgroup-kill"],
            never_used_again,
        ),
        Test::new(
            "kill::a_threaded_cgroup_is_frozen_and_signalled_instead",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, "cgroup-kill"],
            threaded_fallback,
        ),
        Test::new(
            "kill::without_permission_it_signals_one_by_one_and_says_so",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, ROOT, "cgroup-kill"],
            without_permission,
        ),
        Test::new(
            "kill::who_died_first_is_counted",
            &[CGROUP2_WRITE, PIDS_LIMIT, "procs-loop"],
            esrch_is_counted,
        ),
        Test::new(
            "kill::cgroup_kill_spares_a_dead_leader_where_the_kernel_has_the_bug",
            &[
                CGROUP2_WRITE,
                CLONE_INTO_CGROUP,
                "cgroup-kill",
                "cgroup-kill-sweep",
                "freeze-kill",
            ],
            dead_leader,
        ),
    ];
    for id in [
        "cgroup-kill",
        "freeze-cgroup-kill",
        "freeze-kill",
        "freeze-nowait-kill",
        "freeze-nowait-thaw-kill",
        "freeze-thaw-kill",
    ] {
        tests.push(Test::new(
            format!("kill::a_frozen_child_cgroup_is_killed_too::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
            move || frozen_child(id),
        ));
    }
    for id in ["cgroup-kill", "freeze-kill", "procs-loop"] {
        tests.push(Test::new(
            format!("kill::each_stage_is_recorded::{id}"),
            &[CGROUP2_WRITE, PIDS_LIMIT, id],
            move || stages(id),
        ));
    }
    for id in ["procs-loop", "procs-once", "freeze-kill", "stop-then-kill"] {
        tests.push(Test::new(
            format!("kill::pid_0_is_never_signalled::{id}"),
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, PID_NAMESPACE, id],
            move || pid_0(id),
        ));
    }
    if cfg!(target_arch = "x86_64") {
        for (name, id, without, words) in OLDER_KERNELS {
            tests.push(Test::new(
                format!("kill::fallback::{name}"),
                &[CGROUP2_WRITE, CLONE_INTO_CGROUP, id],
                move || older_kernel(id, without, words),
            ));
        }
        for (id, hit) in [
            ("freeze-kill", false),
            ("freeze-nowait-kill", false),
            ("procs-loop-pids-max", false),
            ("term-grace-kill", false),
            ("procs-once", true),
            ("procs-loop", true),
        ] {
            tests.push(Test::new(
                format!("kill::a_reused_pid_{}::{id}", if hit { "is_hit" } else { "is_spared" }),
                &[CGROUP2_WRITE, CLONE_INTO_CGROUP, ROOT, id],
                move || framed(id, hit),
            ));
        }
    }
    tests
}

fn strategy(id: &str) -> AnyStrategy {
    kill::by_id(id).expect("it is registered")
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Kills whoever is in `place` with a strategy in this process's own hands.
fn kill_in(place: &Place, id: &str, root: &Root) -> Result<KillReport, String> {
    let nothing = workload(vec![vec![Op::Live { ns: 0 }]])?;
    let mut plan = SpawnPlan::new(&place.site, &nothing).map_err(text)?;
    let mut killer = strategy(id)
        .prepare(&place.site.set(), &mut plan.options)
        .map_err(text)?;
    killer.kill(root, time::now() + Duration::from_secs(5)).map_err(text)
}

fn sleeping(place: &Place) -> Result<Root, String> {
    let workload = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    place.actor(&workload, |_| {})
}

fn never_used_again() -> Result<(), String> {
    let presence = bugs::killed_at_birth(&base().cgroup).map_err(text)?;
    ensure(matches!(presence, Presence::Present | Presence::Absent), || {
        format!("{presence:?}")
    })?;
    // Two kills in a row: each has a cgroup of its own, or the second workload would be dead at birth where the bug is.
    let sleepers = scenarios::by_id("sleepers").ok_or("not registered")?;
    for _ in 0..2 {
        let record = play(&spec(sleepers, reference(), Some(strategy("cgroup-kill"))))?;
        ensure(record.held && record.ledger.births == 11, || {
            format!("{presence:?}: {record:?}")
        })?;
    }
    // And a cgroup's name is never shared with one that is there already.
    let place = Place::make()?;
    let again = place
        .site
        .parent
        .create("site")
        .map(|_| ())
        .map_err(|e: CgroupError| e.errno());
    ensure(again == Err(Some(Errno::EEXIST)), || format!("{again:?}"))
}

fn threaded_fallback() -> Result<(), String> {
    let place = Place::make()?;
    // Only an empty cgroup can become threaded; the actor is born beside it and joins.
    place.site.cgroup.write("cgroup.type", "threaded").map_err(text)?;
    let birthplace = place.site.parent.as_fd().try_clone_to_owned().map_err(text)?;
    let workload = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let root = place.actor(&workload, |plan| plan.options.born_in(birthplace))?;
    place
        .site
        .cgroup
        .write("cgroup.threads", &root.pid.to_string())
        .map_err(text)?;
    let report = kill_in(&place, "cgroup-kill", &root)?;
    let fallback = report.fallback.clone().unwrap_or_default();
    ensure(
        fallback.contains("EOPNOTSUPP") && fallback.contains("threaded") && report.signals == 1,
        || format!("{report:?}"),
    )?;
    wait_until("it is dead", || pidfd::has_exited(root.pidfd.as_fd()) == Ok(true))
}

/// As a user who may not write to the cgroup's files, but may signal its members.
fn without_permission() -> Result<(), String> {
    const USER: Credentials = Credentials {
        uid: 60_905,
        gid: 60_905,
    };
    let mut place = Place::make()?;
    place.site.credentials = Some(USER);
    let root = sleeping(&place)?;
    wait_until("it is what it will be", || {
        std::fs::read(format!("/proc/{}/cmdline", root.pid)).is_ok_and(|line| line == b"actor\0")
    })?;
    let killer = worker(0, None, || {
        if become_user(USER).is_err() {
            return 2;
        }
        match kill_in(&place, "cgroup-kill", &root) {
            Ok(report) => {
                let fallback = report.fallback.unwrap_or_default();
                i32::from(!(fallback.contains("no permission") && fallback.contains("without freezing")))
            }
            Err(_) => 3,
        }
    })
    .map_err(text)?;
    let status = waitpid(killer.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    ensure(status == WaitStatus::Exited(killer.pid, 0), || format!("{status:?}"))?;
    wait_until("it is dead", || pidfd::has_exited(root.pidfd.as_fd()) == Ok(true))
}

fn esrch_is_counted() -> Result<(), String> {
    let hopper = scenarios::by_id("pid-hopper").ok_or("not registered")?;
    let mut counted = 0;
    for _ in 0..20 {
        let record = play(&spec(hopper, reference(), Some(strategy("procs-loop"))))?;
        let report = record.kill.ok_or_else(|| format!("{:?}", record.note))?;
        ensure(report.errors.is_empty(), || format!("{report:?}"))?;
        counted += report.esrch;
        if counted > 0 {
            return Ok(());
        }
    }
    Err("in 20 kills of a hopper nobody died before it was signalled".to_owned())
}

/// Known unsoundness, asserted both ways; and who claims to do better does.
fn dead_leader() -> Result<(), String> {
    let spared = match bugs::spares_dead_leaders(&base().cgroup).map_err(text)? {
        Presence::Present => true,
        Presence::Absent => false,
        Presence::NotApplicable(why) => return Err(why.to_owned()),
    };
    let leaderless = scenarios::by_id("leaderless").ok_or("not registered")?;
    for (id, survives) in [
        ("cgroup-kill", spared),
        ("cgroup-kill-sweep", false),
        ("freeze-kill", false),
    ] {
        let record = play(&spec(leaderless, reference(), Some(strategy(id))))?;
        let survived = record.outcome == Outcome::Survived;
        ensure(survived == survives && record.held, || format!("{id}: {record:?}"))?;
        let named = record
            .survivors
            .iter()
            .all(|s| s.reason == Reason::DeadLeader.to_string());
        ensure(named && (survives != record.survivors.is_empty()), || {
            format!("{id}: {:?}", record.survivors)
        })?;
    }
    Ok(())
}

/// In order, as far as there is one: the end may come before the last signal, and before the strategy returns.
fn stages(id: &'static str) -> Result<(), String> {
    let bomb = scenarios::by_id("forkbomb").ok_or("not registered")?;
    // A strategy that only races may lose: then there is no end to record.
    for _ in 0..20 {
        let record = play(&spec(bomb, reference(), Some(strategy(id))))?;
        let kill = record.kill.clone().ok_or_else(|| format!("{record:?}"))?;
        let Some(end) = record.stamps.unpopulated_ns else {
            continue;
        };
        let acts = [kill.begun_ns, kill.first_signal_ns, kill.last_signal_ns, kill.issued_ns];
        ensure(acts[0] > 0 && acts.is_sorted(), || format!("{kill:?}"))?;
        ensure(end >= kill.first_signal_ns, || format!("{record:?}"))?;
        for last in [record.stamps.reaped_ns, record.stamps.removed_ns] {
            ensure(last.is_some_and(|at| at >= end), || format!("{:?}", record.stamps))?;
        }
        return ensure(kill.held_ns.is_some() == (id == "freeze-kill"), || format!("{kill:?}"));
    }
    Err("in 20 tries nothing was emptied".to_owned())
}

fn frozen_child(id: &str) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let child = place.site.cgroup.create("child").map_err(text)?;
    let inner = worker(0, Some(child.as_fd()), sleep_for_ever).map_err(text)?;
    child.freeze(true).map_err(text)?;
    wait_until("the child cgroup is frozen", || child.events().is_ok_and(|e| e.frozen))?;
    let report = kill_in(&place, id, &root)?;
    ensure(report.fallback.is_none() && report.signals > 0, || {
        format!("{report:?}")
    })?;
    for fd in [inner.pidfd.as_fd(), root.pidfd.as_fd()] {
        wait_until("both are dead", || pidfd::has_exited(fd) == Ok(true))?;
    }
    Ok(())
}

/// From another PID namespace the members of a cgroup are listed as 0: `kill(0)` would hit the killer's own process group.
fn pid_0(id: &str) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let killer = worker(CLONE_NEWPID, None, || {
        // A group of its own, so that a mistake hits nobody else.
        if nix::unistd::setsid().is_err() {
            return 2;
        }
        match kill_in(&place, id, &root) {
            Ok(report) if report.foreign == 1 && report.signals == 0 => 0,
            Ok(_) => 1,
            Err(_) => 3,
        }
    })
    .map_err(text)?;
    let status = waitpid(killer.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    ensure(status == WaitStatus::Exited(killer.pid, 0), || format!("{status:?}"))?;
    ensure(pidfd::has_exited(root.pidfd.as_fd()) == Ok(false), || {
        "the member was hit".to_owned()
    })
}

/// The adversary that frames a stranger, with the kernel's help: the killer is held (by ptrace) between reading the number of its victim and
/// using it; the victim dies and is reaped; a stranger outside the cgroup is born with its number; the killer goes on.
fn framed(id: &str, hit: bool) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let killer = worker(0, None, || {
        let held = ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP));
        match held.map_err(text).and_then(|()| kill_in(&place, id, &root)) {
            Ok(_) => 0,
            Err(_) => 1,
        }
    })
    .map_err(text)?;
    let stranger = frame(&place, &root, &killer)?.ok_or("the killer never came to use the number")?;
    // A hit is a signal on its way: dying takes a moment, and only a stranger that is to be hit is waited for.
    let patience = PollTimeout::from(if hit { 5_000u16 } else { 20 });
    let mut dying = [PollFd::new(stranger.pidfd.as_fd(), PollFlags::POLLIN)];
    let dead = harness::error::retry_eintr(|| poll(&mut dying, patience)).map_err(text)? == 1;
    ensure(stranger.pid == root.pid, || "the number was not reused".to_owned())?;
    ensure(dead == hit, || {
        format!("the stranger is {}", if dead { "dead" } else { "alive" })
    })
}

/// Kernels that lack something, the strategy that needs it, what is lacking, and what the report has to say.
type Older = (&'static str, &'static str, &'static [Lacking], &'static [&'static str]);

const OLDER_KERNELS: [Older; 4] = [
    (
        "before_5_14_there_is_no_cgroup_kill",
        "cgroup-kill",
        &[Lacking::File(b"cgroup.kill\0")],
        &["no cgroup.kill (Linux 5.14)", "froze and signalled one by one"],
    ),
    (
        "before_5_2_there_is_no_cgroup_freeze_either",
        "cgroup-kill",
        &[Lacking::File(b"cgroup.kill\0"), Lacking::File(b"cgroup.freeze\0")],
        &["no cgroup.kill (Linux 5.14)", "killed in a loop without freezing"],
    ),
    (
        "before_5_2_nobody_is_frozen",
        "freeze-kill",
        &[Lacking::File(b"cgroup.freeze\0")],
        &["killed in a loop without freezing"],
    ),
    (
        "before_5_3_processes_are_signalled_by_number",
        "freeze-kill",
        &[Lacking::PidfdOpen],
        &["pidfd_open: ENOSYS", "unprotected against pid reuse"],
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

/// The strategy on a kernel that lacks something, which is this one with the killer's system calls answered by a tracer. What it does instead is
/// said, and it kills all the same.
fn older_kernel(id: &str, lacking: &[Lacking], words: &[&str]) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let killer = worker(0, None, || {
        let held = ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP));
        match held.map_err(text).and_then(|()| kill_in(&place, id, &root)) {
            Ok(KillReport {
                fallback: Some(said), ..
            }) if words.iter().all(|word| said.contains(word)) => 0,
            Ok(_) => 1,
            Err(_) => 3,
        }
    })
    .map_err(text)?;
    let code = answer_for_an_older_kernel(killer.pid, lacking)?;
    ensure(code == 0, || {
        format!("the killer ended with {code}: 1 means that it did not say so")
    })?;
    wait_until("it is dead", || pidfd::has_exited(root.pidfd.as_fd()) == Ok(true))
}

/// Runs the killer to its end, with every call that needs what is lacking refused. Returns its exit code.
#[cfg(target_arch = "x86_64")]
fn answer_for_an_older_kernel(killer: Pid, lacking: &[Lacking]) -> Result<i32, String> {
    use nix::libc::{SYS_openat, SYS_pidfd_open};

    let all = Some(WaitPidFlag::__WALL);
    waitpid(killer, all).map_err(text)?;
    ptrace::setoptions(killer, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).map_err(text)?;
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
                // At the return of a call this looks at its number once more; a call that was let through is not refused then.
                let entering = regs.rax.cast_signed() == -i64::from(Errno::ENOSYS as i32);
                let call = regs.orig_rax.cast_signed();
                let refused = lacking.iter().find_map(|lack| match lack {
                    Lacking::PidfdOpen if call == SYS_pidfd_open => Some(Errno::ENOSYS),
                    Lacking::File(name) if call == SYS_openat && is_at(killer, regs.rsi, name) => Some(Errno::ENOENT),
                    _ => None,
                });
                if entering && refused.is_some() {
                    answer = refused;
                    // No such call: the kernel does nothing, and its answer is replaced when it returns.
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

/// Runs the killer from system call to system call; at the first that names the victim's number the stranger takes its place.
#[cfg(target_arch = "x86_64")]
fn frame(place: &Place, root: &Root, killer: &Worker) -> Result<Option<Worker>, String> {
    use nix::libc::{SYS_kill, SYS_pidfd_open};

    let all = Some(WaitPidFlag::__WALL);
    waitpid(killer.pid, all).map_err(text)?;
    ptrace::setoptions(killer.pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).map_err(text)?;
    let number = u64::try_from(root.pid.as_raw()).map_err(text)?;
    let calls = [
        u64::try_from(SYS_kill).map_err(text)?,
        u64::try_from(SYS_pidfd_open).map_err(text)?,
    ];
    let mut stranger = None;
    loop {
        ptrace::syscall(killer.pid, None).map_err(text)?;
        match waitpid(killer.pid, all).map_err(text)? {
            WaitStatus::PtraceSyscall(_) if stranger.is_none() => {
                let regs = ptrace::getregs(killer.pid).map_err(text)?;
                if calls.contains(&regs.orig_rax) && regs.rdi == number {
                    pidfd::send_signal(root.pidfd.as_fd(), Some(Signal::SIGKILL)).map_err(text)?;
                    waitpid(root.pid, all).map_err(text)?;
                    let born = worker_as(root.pid, Some(place.site.control.as_fd()), sleep_for_ever);
                    stranger = Some(born.map_err(text)?);
                }
            }
            WaitStatus::Exited(_, 0) => return Ok(stranger),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Err("the killer failed".to_owned()),
            _ => {}
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn frame(_: &Place, _: &Root, _: &Worker) -> Result<Option<Worker>, String> {
    Err("the registers of this architecture are not known here".to_owned())
}
