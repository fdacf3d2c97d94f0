//! Rules of killing: no outsider is hit through a reused pid, pid 0 is never signalled, processes
//! that died first are counted, and a fallback is reported.

use std::os::fd::AsFd;
use std::time::Duration;

use allgone::kill::Fallback;
use allgone::survivors::Reason;
use harness::cgroup::CgroupError;
use harness::host::bugs::{self, Presence};
use harness::kill::{self, AnyStrategy, KillReport};
use harness::record::Outcome;
use harness::sys::fork::{Worker, worker, worker_as};
use harness::sys::privilege::become_user;
use harness::sys::spawn::{CLONE_NEWPID, Credentials};
use harness::sys::{pidfd, time};
use harness::trial::{Root, SpawnPlan};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
        for (id, hit) in [
            ("freeze-kill", false),
            ("freeze-nowait-kill", false),
            ("procs-loop-pids-max", false),
            ("term-grace-kill", false),
            ("procs-once", true),
            ("procs-loop", true),
        ] {
            tests.push(Test::new(
                format!(
                    "kill::a_reused_pid_{}::{id}",
                    if hit { "is_hit" } else { "is_spared" }
                ),
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

pub(crate) fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Kills the members of `place` with a strategy that this process runs itself.
pub(crate) fn kill_in(place: &Place, id: &str, root: &Root) -> Result<KillReport, String> {
    let nothing = workload(vec![vec![Op::Live { ns: 0 }]])?;
    let mut plan = SpawnPlan::new(&place.site, &nothing).map_err(text)?;
    let mut killer = strategy(id)
        .prepare(&place.site.set(), &mut plan.options)
        .map_err(text)?;
    killer
        .kill(root, time::now() + Duration::from_secs(5))
        .map_err(text)
}

pub(crate) fn sleeping(place: &Place) -> Result<Root, String> {
    let workload = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    place.actor(&workload, |_| {})
}

fn never_used_again() -> Result<(), String> {
    let presence = bugs::killed_at_birth(base().cgroup()).map_err(text)?;
    ensure(
        matches!(presence, Presence::Present | Presence::Absent),
        || format!("{presence:?}"),
    )?;
    // Two kills in a row: each has a cgroup of its own, or the second workload would be dead at
    // birth where the bug is.
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
    place
        .site
        .cgroup
        .write("cgroup.type", "threaded")
        .map_err(text)?;
    let birthplace = place
        .site
        .parent
        .as_fd()
        .try_clone_to_owned()
        .map_err(text)?;
    let workload = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let root = place.actor(&workload, |plan| plan.options.born_in(birthplace))?;
    place
        .site
        .cgroup
        .write("cgroup.threads", &root.pid.to_string())
        .map_err(text)?;
    let report = kill_in(&place, "cgroup-kill", &root)?;
    let refused = match report.fallbacks.as_slice() {
        [Fallback::FrozeAndSignalled(refusal)] => refusal.errno == Errno::EOPNOTSUPP,
        _ => false,
    };
    ensure(refused && report.signals == 1, || format!("{report:?}"))?;
    wait_until("it is dead", || {
        pidfd::has_exited(root.pidfd.as_fd()) == Ok(true)
    })
}

/// As a user that may not write to the cgroup's files, but may signal its members.
fn without_permission() -> Result<(), String> {
    const USER: Credentials = Credentials {
        uid: 60_905,
        gid: 60_905,
    };
    let mut place = Place::make()?;
    place.site.credentials = Some(USER);
    let root = sleeping(&place)?;
    wait_until("it is what it will be", || {
        std::fs::read(format!("/proc/{}/cmdline", root.pid))
            .is_ok_and(|line| line.starts_with(b"actor\0"))
    })?;
    let killer = worker(0, None, || {
        if become_user(USER).is_err() {
            return 2;
        }
        match kill_in(&place, "cgroup-kill", &root) {
            Ok(report) => {
                let names: Vec<_> = report.fallbacks.iter().map(Fallback::name).collect();
                let refused = |errno| [Errno::EACCES, Errno::EPERM].contains(&errno);
                let all = report
                    .fallbacks
                    .iter()
                    .all(|f| f.errno().is_some_and(refused));
                i32::from(!(names == ["froze-and-signalled", "did-not-freeze"] && all))
            }
            Err(_) => 3,
        }
    })
    .map_err(text)?;
    let status = waitpid(killer.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    ensure(status == WaitStatus::Exited(killer.pid, 0), || {
        format!("{status:?}")
    })?;
    wait_until("it is dead", || {
        pidfd::has_exited(root.pidfd.as_fd()) == Ok(true)
    })
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

/// Known unsoundness, asserted both ways; a strategy that claims to do better does.
fn dead_leader() -> Result<(), String> {
    let spared = match bugs::spares_dead_leaders(base().cgroup()).map_err(text)? {
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
        let mut spec = spec(leaderless, reference(), Some(strategy(id)));
        spec.deadline = Duration::from_secs(20);
        let record = play(&spec)?;
        let survived = record.outcome == Outcome::Survived;
        ensure(survived == survives && record.held, || {
            format!("{id}: {record:?}")
        })?;
        // That it survives is proved by its other thread, and not by waiting.
        ensure(survived == record.verdict.is_none(), || {
            format!("{id}: {record:?}")
        })?;
        let named = record
            .survivors
            .iter()
            .all(|s| s.reason == Reason::DeadLeader.id());
        ensure(named && (survives != record.survivors.is_empty()), || {
            format!("{id}: {:?}", record.survivors)
        })?;
    }
    Ok(())
}

/// In order, as far as there is one: the end may come before the last signal, and before the
/// strategy returns.
fn stages(id: &'static str) -> Result<(), String> {
    let bomb = scenarios::by_id("forkbomb").ok_or("not registered")?;
    // A strategy that only races may lose: then there is no end to record.
    for _ in 0..20 {
        let record = play(&spec(bomb, reference(), Some(strategy(id))))?;
        let kill = record.kill.clone().ok_or_else(|| format!("{record:?}"))?;
        let Some(end) = record.stamps.unpopulated_ns else {
            continue;
        };
        let acts = [
            kill.begun_ns,
            kill.first_signal_ns,
            kill.last_signal_ns,
            kill.issued_ns,
        ];
        ensure(acts[0] > 0 && acts.is_sorted(), || format!("{kill:?}"))?;
        ensure(end >= kill.first_signal_ns, || format!("{record:?}"))?;
        for last in [record.stamps.reaped_ns, record.stamps.removed_ns] {
            ensure(last.is_some_and(|at| at >= end), || {
                format!("{:?}", record.stamps)
            })?;
        }
        return ensure(kill.held_ns.is_some() == (id == "freeze-kill"), || {
            format!("{kill:?}")
        });
    }
    Err("in 20 tries nothing was emptied".to_owned())
}

fn frozen_child(id: &str) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let child = place.site.cgroup.create("child").map_err(text)?;
    let inner = worker(0, Some(child.as_fd()), sleep_for_ever).map_err(text)?;
    child.freeze(true).map_err(text)?;
    wait_until("the child cgroup is frozen", || {
        child.events().is_ok_and(|e| e.frozen)
    })?;
    let report = kill_in(&place, id, &root)?;
    ensure(report.fallbacks.is_empty() && report.signals > 0, || {
        format!("{report:?}")
    })?;
    for fd in [inner.pidfd.as_fd(), root.pidfd.as_fd()] {
        wait_until("both are dead", || pidfd::has_exited(fd) == Ok(true))?;
    }
    Ok(())
}

/// From another PID namespace the members of a cgroup are listed as 0: `kill(0)` would hit the
/// killer's own process group.
fn pid_0(id: &str) -> Result<(), String> {
    let place = Place::make()?;
    let root = sleeping(&place)?;
    let killer = worker(CLONE_NEWPID, None, || {
        // A group of its own, so that a mistake hits no other process.
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
    ensure(status == WaitStatus::Exited(killer.pid, 0), || {
        format!("{status:?}")
    })?;
    ensure(pidfd::has_exited(root.pidfd.as_fd()) == Ok(false), || {
        "the member was hit".to_owned()
    })
}

/// A reused pid, forced: ptrace stops the killer between reading the pid of its victim and using
/// it; the victim dies and is reaped; a process outside the cgroup is created with the same pid;
/// the killer goes on.
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
    let stranger =
        frame(&place, &root, &killer)?.ok_or("the killer never came to use the number")?;
    // A hit process needs a moment to die, so only an outsider that is expected to be hit is waited
    // for.
    let patience = PollTimeout::from(if hit { 5_000u16 } else { 20 });
    let mut dying = [PollFd::new(stranger.pidfd.as_fd(), PollFlags::POLLIN)];
    let dead = harness::error::retry_eintr(|| poll(&mut dying, patience)).map_err(text)? == 1;
    ensure(stranger.pid == root.pid, || {
        "the number was not reused".to_owned()
    })?;
    ensure(dead == hit, || {
        format!("the stranger is {}", if dead { "dead" } else { "alive" })
    })
}

/// Runs the killer from system call to system call; at the first that uses the victim's pid the
/// outsider takes its place.
#[cfg(target_arch = "x86_64")]
fn frame(place: &Place, root: &Root, killer: &Worker) -> Result<Option<Worker>, String> {
    use nix::libc::{SYS_kill, SYS_pidfd_open};

    let all = Some(WaitPidFlag::__WALL);
    waitpid(killer.pid, all).map_err(text)?;
    ptrace::setoptions(
        killer.pid,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
    )
    .map_err(text)?;
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
                    let born =
                        worker_as(root.pid, Some(place.site.control.as_fd()), sleep_for_ever);
                    stranger = Some(born.map_err(text)?);
                }
            }
            WaitStatus::Exited(_, 0) => return Ok(stranger),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                return Err("the killer failed".to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn frame(_: &Place, _: &Root, _: &Worker) -> Result<Option<Worker>, String> {
    Err("the registers of this architecture are not known here".to_owned())
}
