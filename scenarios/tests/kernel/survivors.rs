//! Every reason for surviving a kill that can be caused without special hardware, and its
//! diagnosis.

use std::os::fd::AsFd;

use allgone::survivors::{Reason, Survivor, diagnose, unreaped};
use harness::sys::pidfd;
use harness::sys::spawn::CLONE_NEWPID;
use nix::fcntl::{OFlag, open};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use scenarios::Op;
use scenarios::script::FOREVER;

use super::common::{Test, ensure, wait_until};
use super::needs::{
    CGROUP2_WRITE, CLONE_INTO_CGROUP, FILE_SYSTEM_FREEZE, KERNEL_THREADS, PID_NAMESPACE, ROOT,
    V1_CPU, V1_FREEZER, V2_CPU,
};
use super::place::{FrozenFiles, Place, V1Dir, sleep_for_ever, state_of, workload};

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let needs = &[CGROUP2_WRITE, CLONE_INTO_CGROUP];
    vec![
        Test::new("survivors::nobody", needs, nobody),
        Test::new("survivors::not_killed", needs, not_killed),
        Test::new(
            "survivors::a_hostile_name_is_reported_as_it_is",
            needs,
            hostile_name,
        ),
        Test::new("survivors::frozen_by_its_own_cgroup", needs, frozen_itself),
        Test::new("survivors::frozen_by_an_ancestor", needs, frozen_above),
        Test::new(
            "survivors::frozen_by_the_v1_freezer",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, V1_FREEZER],
            frozen_v1,
        ),
        Test::new(
            "survivors::in_uninterruptible_sleep",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, ROOT, FILE_SYSTEM_FREEZE],
            uninterruptible,
        ),
        Test::new(
            "survivors::out_of_cpu_time",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, V1_CPU],
            throttled,
        ),
        Test::new(
            "survivors::out_of_cpu_time_by_cpu_max",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, V2_CPU],
            throttled_v2,
        ),
        Test::new(
            "survivors::a_kernel_thread",
            &[CGROUP2_WRITE, ROOT, FILE_SYSTEM_FREEZE, KERNEL_THREADS],
            kernel_thread,
        ),
        Test::new("survivors::waiting_for_its_child_in_vfork", needs, in_vfork),
        Test::new("survivors::stopped_by_its_tracer", needs, traced),
        Test::new("survivors::stopped_by_job_control", needs, stopped),
        Test::new("survivors::its_leader_is_dead", needs, dead_leader),
        Test::new("survivors::in_a_threaded_cgroup", needs, threaded),
        Test::new("survivors::exiting", needs, exiting),
        Test::new("survivors::a_zombie_is_none", needs, zombie),
        Test::new(
            "survivors::who_cannot_be_named_is_not_nobody",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP, PID_NAMESPACE],
            unnameable,
        ),
    ]
}

/// The only survivor.
fn one(place: &Place) -> Result<Survivor, String> {
    let mut found = diagnose(&place.site.cgroup).map_err(|e| e.to_string())?;
    match (found.pop(), found.is_empty()) {
        (Some(survivor), true) => Ok(survivor),
        (last, _) => Err(format!("not exactly one survivor: {found:?} {last:?}")),
    }
}

fn expect(survivor: &Survivor, pid: Pid, reason: Reason, evidence: &[&str]) -> Result<(), String> {
    let told = survivor.pid == pid.as_raw()
        && survivor.reason == reason
        && evidence.iter().all(|part| survivor.evidence.contains(part));
    ensure(told, || {
        format!("wanted {pid} {reason} {evidence:?}, got {survivor:?}")
    })
}

fn send(pid: Pid, signal: Signal) -> Result<(), String> {
    // Always an own child that has not been reaped: the pid is its own.
    kill(pid, signal).map_err(|e| e.to_string())
}

fn wait_for_state(pid: Pid, state: char) -> Result<(), String> {
    wait_until(&format!("process {pid} is in state {state}"), || {
        state_of(pid) == Some(state)
    })
}

fn nobody() -> Result<(), String> {
    let place = Place::make()?;
    let found = diagnose(&place.site.cgroup).map_err(|e| e.to_string())?;
    ensure(found.is_empty(), || format!("{found:?}"))
}

fn not_killed() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    wait_for_state(victim.pid, 'S')?;
    let survivor = one(&place)?;
    ensure(
        survivor.cgroup.ends_with("/trial/site") && survivor.state == 'S',
        || format!("{survivor:?}"),
    )?;
    expect(
        &survivor,
        victim.pid,
        Reason::NotSignalled,
        &["no SIGKILL is pending"],
    )
}

fn hostile_name() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place
        .victim(|| nix::sys::prctl::set_name(c") Z 1 (x\ny").map_or(1, |()| sleep_for_ever()))?;
    wait_until("it has its name", || {
        std::fs::read(format!("/proc/{}/comm", victim.pid)).is_ok_and(|name| name.starts_with(b")"))
    })?;
    let survivor = one(&place)?;
    ensure(survivor.comm == ") Z 1 (x\\ny", || format!("{survivor:?}"))?;
    expect(&survivor, victim.pid, Reason::NotSignalled, &[])
}

fn frozen_itself() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    freeze(&place.site.cgroup)?;
    expect(
        &one(&place)?,
        victim.pid,
        Reason::FrozenV2,
        &["by its own cgroup", "frozen 1", "no SIGKILL"],
    )
}

fn frozen_above() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    freeze(&place.site.parent)?;
    let parent = place.site.parent.path().display().to_string();
    expect(
        &one(&place)?,
        victim.pid,
        Reason::FrozenV2,
        &[&format!("by its ancestor {parent}:"), "frozen 1"],
    )?;
    // What the diagnosis implies: whatever would end it ends it while it is frozen.
    send(victim.pid, Signal::SIGTERM)?;
    wait_until("it dies frozen", || {
        pidfd::has_exited(victim.pidfd.as_fd()) == Ok(true)
    })
}

fn freeze(cgroup: &harness::cgroup::Cgroup) -> Result<(), String> {
    cgroup.freeze(true).map_err(|e| e.to_string())?;
    wait_until("it is frozen", || {
        cgroup.events().is_ok_and(|events| events.frozen)
    })
}

fn frozen_v1() -> Result<(), String> {
    let freezer = V1Dir::make("freezer")?;
    let place = Place::make()?;
    let victim = place.sleeper()?;
    freezer.write("cgroup.procs", &victim.pid.to_string())?;
    freezer.write("freezer.state", "FROZEN")?;
    let diagnosis = (|| {
        wait_until("it is FROZEN", || freezer.read("freezer.state") == "FROZEN")?;
        send(victim.pid, Signal::SIGKILL)?;
        expect(
            &one(&place)?,
            victim.pid,
            Reason::FrozenV1,
            &[
                "FROZEN",
                "by its own cgroup: freezer.self_freezing",
                "SIGKILL is pending",
            ],
        )
    })();
    freezer.write("freezer.state", "THAWED")?;
    diagnosis
}

fn uninterruptible() -> Result<(), String> {
    let mut files = FrozenFiles::make()?;
    let place = Place::make()?;
    let path = files.path();
    let victim = place.victim(move || {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        open(&path, flags, Mode::from_bits_truncate(0o600)).map_or(1, |_| 0)
    })?;
    let diagnosis = (|| {
        wait_for_state(victim.pid, 'D')?;
        send(victim.pid, Signal::SIGKILL)?;
        let survivor = one(&place)?;
        ensure(survivor.state == 'D', || format!("{survivor:?}"))?;
        expect(
            &survivor,
            victim.pid,
            Reason::UninterruptibleSleep,
            &["wchan", "SIGKILL is pending"],
        )
    })();
    files.thaw()?;
    diagnosis
}

fn throttled() -> Result<(), String> {
    let limit = V1Dir::make("cpu")?;
    let place = Place::make()?;
    // One per cent of a CPU.
    limit.write("cpu.cfs_quota_us", "1000")?;
    let victim = place.victim(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    limit.write("cgroup.procs", &victim.pid.to_string())?;
    wait_until("it is throttled", || {
        limit
            .read("cpu.stat")
            .lines()
            .any(|line| line.starts_with("nr_throttled ") && line != "nr_throttled 0")
    })?;
    let survivor = one(&place)?;
    let directory = limit.path().display().to_string();
    let told = expect(
        &survivor,
        victim.pid,
        Reason::Throttled,
        &[
            "cpu.cfs_quota_us",
            "is 1000",
            &directory,
            "nr_throttled went from",
        ],
    );
    limit.write("cpu.cfs_quota_us", "-1")?;
    told
}

fn throttled_v2() -> Result<(), String> {
    let place = Place::make()?;
    let limit = place.cpu_limit()?;
    let directory = limit.parent().unwrap_or(&limit).display().to_string();
    let set = |value: &str| {
        std::fs::write(&limit, value)
            .map_err(|e| format!("could not write {}: {e}", limit.display()))
    };
    // One per cent of a CPU.
    set("1000 100000")?;
    let victim = place.victim(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    wait_until("it is throttled", || {
        std::fs::read_to_string(limit.with_file_name("cpu.stat"))
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with("nr_throttled ") && line != "nr_throttled 0")
    })?;
    let told = expect(
        &one(&place)?,
        victim.pid,
        Reason::Throttled,
        &[
            "cpu.max",
            "is 1000 100000",
            &directory,
            "nr_throttled went from",
        ],
    );
    set("max")?;
    told
}

/// A kernel thread serves the journal of a file system that was mounted here. It can be moved, and
/// then nothing ends it.
fn kernel_thread() -> Result<(), String> {
    let place = Place::make()?;
    // Declared after the place, so that it is unmounted, and its thread ends, before the place is
    // taken down.
    let mut files = FrozenFiles::make()?;
    files.thaw()?;
    let thread = files.journal()?;
    let text = |e: harness::cgroup::CgroupError| e.to_string();
    let cgroup = &place.site.cgroup;
    cgroup
        .write("cgroup.procs", &thread.to_string())
        .map_err(text)?;
    cgroup.kill().map_err(text)?;
    expect(&one(&place)?, thread, Reason::KernelThread, &["PF_KTHREAD"])?;
    ensure(cgroup.events().map_err(text)?.populated, || {
        "it has gone".to_owned()
    })
}

/// In state D, but not in uninterruptible sleep: SIGKILL ends it, and the child lives on.
fn in_vfork() -> Result<(), String> {
    const CLONE_VFORK: u64 = 0x4000;
    let place = Place::make()?;
    let victim = place.victim(|| {
        harness::sys::fork::worker(CLONE_VFORK, None, sleep_for_ever).map_or(1, |_| 0)
    })?;
    wait_for_state(victim.pid, 'D')?;
    let found = diagnose(&place.site.cgroup).map_err(|e| e.to_string())?;
    let parent = found
        .iter()
        .find(|s| s.pid == victim.pid.as_raw())
        .ok_or("it is not there")?;
    ensure(found.len() == 2 && parent.state == 'D', || {
        format!("{found:?}")
    })?;
    expect(
        parent,
        victim.pid,
        Reason::NotSignalled,
        &["no SIGKILL is pending; state D"],
    )?;
    send(victim.pid, Signal::SIGKILL)?;
    wait_until("it dies although its child lives", || {
        pidfd::has_exited(victim.pidfd.as_fd()) == Ok(true)
    })?;
    let child = one(&place)?;
    ensure(child.pid != victim.pid.as_raw(), || format!("{child:?}"))?;
    // Its parent was in D before it had run.
    wait_for_state(Pid::from_raw(child.pid), 'S')
}

fn traced() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    let error = |e: nix::errno::Errno| e.to_string();
    ptrace::seize(victim.pid, Options::empty()).map_err(error)?;
    ptrace::interrupt(victim.pid).map_err(error)?;
    waitpid(victim.pid, Some(WaitPidFlag::__WALL)).map_err(error)?;
    send(victim.pid, Signal::SIGTERM)?;
    expect(
        &one(&place)?,
        victim.pid,
        Reason::Traced,
        &[
            &format!("under tracer {}", std::process::id()),
            "no SIGKILL is pending",
        ],
    )?;
    // What the diagnosis implies: SIGKILL is enough, the tracer need not let go.
    send(victim.pid, Signal::SIGKILL)?;
    wait_until("it dies under its tracer", || {
        pidfd::has_exited(victim.pidfd.as_fd()) == Ok(true)
    })
}

fn stopped() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    send(victim.pid, Signal::SIGSTOP)?;
    wait_for_state(victim.pid, 'T')?;
    send(victim.pid, Signal::SIGTERM)?;
    expect(
        &one(&place)?,
        victim.pid,
        Reason::Stopped,
        &["state T", "SIGTERM is pending and waits for SIGCONT"],
    )
}

fn dead_leader() -> Result<(), String> {
    let place = Place::make()?;
    let workload = workload(vec![vec![Op::ExitLeader, Op::Live { ns: FOREVER }]])?;
    let root = place.actor(&workload, |_| {})?;
    wait_for_state(root.pid, 'Z')?;
    let survivor = one(&place)?;
    ensure(survivor.state == 'Z', || format!("{survivor:?}"))?;
    expect(
        &survivor,
        root.pid,
        Reason::DeadLeader,
        &["1 live threads", "no SIGKILL is pending"],
    )?;
    let none = unreaped(&place.site.cgroup).map_err(|e| e.to_string())?;
    ensure(none.is_empty(), || format!("it is not dead: {none:?}"))
}

fn threaded() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.sleeper()?;
    let text = |e: harness::cgroup::CgroupError| e.to_string();
    let inner = place.site.cgroup.create("threads").map_err(text)?;
    inner.write("cgroup.type", "threaded").map_err(text)?;
    inner
        .write("cgroup.threads", &victim.pid.to_string())
        .map_err(text)?;
    let refused = inner.kill().map_err(|e| e.errno());
    ensure(refused == Err(Some(nix::errno::Errno::EOPNOTSUPP)), || {
        format!("{refused:?}")
    })?;
    let survivor = one(&place)?;
    ensure(survivor.cgroup.ends_with("/site/threads"), || {
        format!("{survivor:?}")
    })?;
    expect(
        &survivor,
        victim.pid,
        Reason::ThreadedCgroup,
        &["cgroup.type of", "is threaded"],
    )
}

/// A process with much memory is seen while it exits: the kernel needs time to free that.
fn exiting() -> Result<(), String> {
    const BYTES: usize = 256 << 20;
    for _ in 0..20 {
        let place = Place::make()?;
        let victim = place.victim(|| {
            let memory = vec![1u8; BYTES];
            std::hint::black_box(&memory);
            sleep_for_ever()
        })?;
        wait_for_state(victim.pid, 'S')?;
        send(victim.pid, Signal::SIGKILL)?;
        while pidfd::has_exited(victim.pidfd.as_fd()) == Ok(false) {
            let found = diagnose(&place.site.cgroup).map_err(|e| e.to_string())?;
            if let Some(survivor) = found.iter().find(|s| s.reason == Reason::Exiting) {
                return ensure(
                    survivor
                        .evidence
                        .contains("PF_EXITING or PF_SIGNALED is set")
                        || survivor.pid == 0,
                    || format!("{survivor:?}"),
                );
            }
        }
    }
    Err("in 20 tries nobody was seen exiting".to_owned())
}

fn zombie() -> Result<(), String> {
    let place = Place::make()?;
    let victim = place.victim(|| 0)?;
    wait_for_state(victim.pid, 'Z')?;
    wait_until("the site is unpopulated", || {
        place
            .site
            .cgroup
            .events()
            .is_ok_and(|events| !events.populated)
    })?;
    let found = diagnose(&place.site.cgroup).map_err(|e| e.to_string())?;
    ensure(found.is_empty(), || format!("{found:?}"))?;
    let waiting = unreaped(&place.site.cgroup).map_err(|e| e.to_string())?;
    let own = i32::try_from(std::process::id()).map_err(|e| e.to_string())?;
    ensure(
        matches!(&waiting[..],
            [z] if z.pid == victim.pid.as_raw() && z.parent == own && !z.parent_comm.is_empty()),
        || format!("{waiting:?}"),
    )
}

fn unnameable() -> Result<(), String> {
    let place = Place::make()?;
    place.sleeper()?;
    let wanted = Reason::Unnameable;
    let stranger =
        harness::sys::fork::worker(CLONE_NEWPID, None, || match diagnose(&place.site.cgroup) {
            Ok(found) if found.len() == 1 && found[0].reason == wanted && found[0].pid == 0 => 0,
            _ => 1,
        })
        .map_err(|e| e.to_string())?;
    let status = waitpid(stranger.pid, Some(WaitPidFlag::__WALL)).map_err(|e| e.to_string())?;
    ensure(
        status == nix::sys::wait::WaitStatus::Exited(stranger.pid, 0),
        || format!("{status:?}"),
    )
}
