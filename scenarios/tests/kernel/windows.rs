//! Windows between two events of the kernel, each forced or swept: the end of a tree against the
//! kernel's limit on notifications, against a removal, against the death of the watcher, and
//! against what else the kernel says about the same end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use allgone::host::KernelVersion;
use harness::detect::{self, AnyDetector, DETECTORS, Verdict, Wake};
use harness::expect::{Expectation, Plane, Scope};
use harness::param;
use harness::record::Outcome;
use harness::sys::fork::{Worker, worker};
use harness::sys::spawn::CLONE_PARENT;
use harness::sys::wait::{Whose, waitid};
use harness::sys::{pidfd, time};
use harness::trial::{Expected, Root, SpawnPlan, Stage, TrialSpec};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal as NixSignal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use scenarios::script::{FOREVER, Op, Script};

use super::common::{Test, ensure, play, spec, spec_at, start, wait_until};
use super::kill::text;
use super::needs::{CGROUP2_WRITE, CLONE_INTO_CGROUP, PIDS_LIMIT};
use super::order::{Scene, apart};
use super::place::{Place, reap_all, sleep_for_ever, state_of, workload};
use super::random::is_sound;

/// How long a verdict may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lifetimes in milliseconds. The kernel holds a notification back that comes less than 10 ms (to
/// the next tick: 10 to 20) after another of the same file, and the birth is another.
const LIFETIMES_MS: [u64; 22] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 35, 50,
];

/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new(
            "windows::exit_and_unpopulated_come_in_the_order_of_this_kernel",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP],
            order_of_this_kernel,
        ),
        Test::new(
            "windows::a_list_is_empty_or_refused_while_a_cgroup_is_populated",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP],
            populated_without_a_list,
        ),
        Test::new(
            "windows::a_process_without_its_leader_is_listed_as_a_zombie",
            &[CGROUP2_WRITE, CLONE_INTO_CGROUP],
            listed_as_a_zombie,
        ),
    ];
    tests.push(Test::new(
        "windows::the_removal_probe_takes_a_cgroup_that_is_about_to_be_entered",
        &[CGROUP2_WRITE, CLONE_INTO_CGROUP],
        taken_away,
    ));
    for detector in DETECTORS.iter().filter(|d| is_sound(d.spec())) {
        let spec = detector.spec();
        let mut test = |name: &str, body: fn(AnyDetector) -> Result<(), String>| {
            tests.push(Test::new(
                format!("windows::{name}::{}", spec.id),
                &[CGROUP2_WRITE, PIDS_LIMIT, spec.id],
                move || body(detect::by_id(spec.id).ok_or("not registered")?),
            ));
        };
        test("somebody_lives_who_is_not_listed", lives_unlisted);
        if spec.wake == Wake::Event {
            test("the_end_is_told_whatever_the_lifetime", swept);
        }
        if spec.scope == Scope::Cgroup && !spec.loses_on_removal {
            test("a_removal_is_told_while_a_notification_is_held_back", |d| {
                apart(|| removed_meanwhile(d))
            });
        }
        if spec.scope == Scope::Cgroup && !PREPARE_THE_BIRTH.contains(&spec.id) {
            test("a_watcher_takes_over_from_one_that_was_killed", |d| {
                apart(|| taken_over(d))
            });
        }
    }
    tests
}

/// Never early, always told: for each lifetime.
fn swept(detector: AnyDetector) -> Result<(), String> {
    let scenario = scenarios::by_id("exit-now").ok_or("not registered")?;
    let mut run = start();
    let mut played = || -> Result<(), String> {
        for (seq, ms) in (0..).zip(LIFETIMES_MS) {
            let mut spec = spec_at(scenario, detector, None, &[("lifetime", ms * 1_000_000)]);
            spec.seq = seq;
            spec.deadline = PATIENCE;
            let record = run.trial(&spec).map_err(text)?;
            ensure(record.held && record.outcome == Outcome::Right, || {
                format!("{ms} ms: {record:?}")
            })?;
        }
        Ok(())
    };
    let played = played();
    let leaks = run.finish().map_err(text)?;
    ensure(leaks.is_clean(), || leaks.to_string())?;
    played
}

/// A process in a cgroup below, and one without its first thread: no verdict while it lives.
fn lives_unlisted(detector: AnyDetector) -> Result<(), String> {
    let stay = Op::Live { ns: FOREVER };
    // That detector removes empty cgroups, and one that the process is about to enter is empty.
    let burrows = detector.spec().id != "cgroup-rmdir-probe";
    let nested = burrows.then(|| vec![Op::EnterCgroup, stay]);
    for ops in nested.into_iter().chain([vec![Op::ExitLeader, stay]]) {
        let script = Script::new(vec![ops]).map_err(text)?;
        let exit_now = scenarios::by_id("exit-now").ok_or("not registered")?;
        let record = play(&TrialSpec {
            workload: scenarios::workload(&script).map_err(text)?,
            stage: Stage {
                delegated: true,
                ..Stage::default()
            },
            expected: Expected::Detect(Expectation::NeverFires("it lives for ever")),
            deadline: Duration::from_millis(100),
            ..spec(exit_now, detector, None)
        })?;
        ensure(
            record.held && record.outcome == Outcome::StillRunning,
            || format!("{script:?}: {record:?}"),
        )?;
    }
    Ok(())
}

/// Known and asserted: what a member has made and not yet entered is removed, though the member
/// lives.
fn taken_away() -> Result<(), String> {
    let detector = detect::by_id("cgroup-rmdir-probe").ok_or("not registered")?;
    let mut place = Place::make()?;
    place.site.params = param::defaults(detector.spec().axes, Plane::Detect);
    let program = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let mut plan = SpawnPlan::new(&place.site, &program).map_err(text)?;
    let mut armed = detector
        .arm(&place.site.set(), &mut plan.options)
        .map_err(text)?;
    let root = plan.spawn().map_err(text)?;
    drop(plan);
    armed.attach(&root).map_err(text)?;
    place.site.cgroup.create("new").map_err(text)?;
    // At least one look, whatever the time.
    let verdict = armed.wait(time::now()).map_err(text)?;
    armed.finish();
    let left = place.site.cgroup.child("new").map_err(|e| e.errno());
    ensure(
        matches!(verdict, Verdict::DeadlinePassed { .. })
            && matches!(left, Err(Some(Errno::ENOENT))),
        || format!("{verdict:?}, {left:?}"),
    )
}

/// The site is removed at some moment after its end: before, while and after the timer fires that
/// delivers what was held back.
fn removed_meanwhile(detector: AnyDetector) -> Result<(), String> {
    for ms in 0..=20 {
        let scene = Scene::set(detector)?;
        let mut plan = scene.plan()?;
        let mut armed = detector
            .arm(&scene.place.site.set(), &mut plan.options)
            .map_err(text)?;
        let root = plan.spawn().map_err(text)?;
        drop(plan);
        let owner = owner(&scene.place, &root, Duration::from_millis(ms))?;
        armed.attach(&root).map_err(text)?;
        let verdict = armed.wait(time::now() + PATIENCE).map_err(text)?;
        armed.finish();
        wait_until("the owner has ended", || {
            pidfd::has_exited(owner.pidfd.as_fd()) == Ok(true)
        })?;
        let removed = scene.place.site.cgroup.events().is_err();
        scene.clear()?;
        let told = matches!(
            verdict,
            Verdict::Empty { .. } | Verdict::SiteRemoved { .. } | Verdict::Unknown { .. }
        );
        ensure(told && removed, || {
            format!("removed after {ms} ms ({removed}): {verdict:?}")
        })?;
    }
    Ok(())
}

/// Removes the site so long after the end of `root`. It is no child of this process, so that no
/// detector waits for it.
fn owner(place: &Place, root: &Root, after: Duration) -> Result<Worker, String> {
    let site = &place.site;
    worker(CLONE_PARENT, Some(site.control.as_fd()), || {
        let give_up = time::now() + PATIENCE;
        while pidfd::has_exited(root.pidfd.as_fd()) != Ok(true) && !give_up.has_passed() {}
        // The moment in the window is what is tried here: nothing is waited for.
        let moment = time::now() + after;
        while !moment.has_passed() {}
        loop {
            match site.parent.remove_child("site") {
                Err(e) if e.errno() == Some(Errno::EBUSY) && !give_up.has_passed() => {}
                // ENOENT: the detector has removed it.
                Ok(()) | Err(_) => return 0,
            }
        }
    })
    .map_err(text)
}

/// Detectors that have to prepare the birth: a process that was born without them is not in what
/// they watch, so nobody can take over.
const PREPARE_THE_BIRTH: [&str; 4] = [
    "prepopulated-cgroup",
    "v1-event-control",
    "v1-release-agent",
    "v1-release-event-control",
];

/// A watcher is killed while it waits; another process arms on the same cgroup, and hears of the
/// end, not earlier.
fn taken_over(detector: AnyDetector) -> Result<(), String> {
    let mut place = Place::make()?;
    place.site.params = param::defaults(detector.spec().axes, Plane::Detect);
    let program = workload(vec![vec![Op::Live { ns: FOREVER }]])?;
    let root = place.actor(&program, |_| {})?;
    let (mut first, hear) = watcher(detector, &place, &root)?;
    hear_from(&hear)?;
    pidfd::send_signal(first.pidfd.as_fd(), Some(NixSignal::SIGKILL)).map_err(text)?;
    waitpid(first.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    let hear;
    (first, hear) = watcher(detector, &place, &root)?;
    hear_from(&hear)?;
    let alive = time::now();
    place.site.cgroup.kill().map_err(text)?;
    let decided = hear_from(&hear)?;
    let ended = waitpid(first.pid, Some(WaitPidFlag::__WALL)).map_err(text)?;
    reap_all();
    ensure(
        ended == WaitStatus::Exited(first.pid, 0) && decided > alive.0,
        || format!("{ended:?}: alive at {alive:?}, said to be over at {decided}"),
    )
}

/// A process that arms, says so, waits, and says when it has decided that all is over.
fn watcher(detector: AnyDetector, place: &Place, root: &Root) -> Result<(Worker, OwnedFd), String> {
    let (hear, tell) = nix::unistd::pipe().map_err(text)?;
    let say = |ns: u64| nix::unistd::write(&tell, &ns.to_ne_bytes()).map_err(text);
    let nothing = workload(vec![Vec::new()])?;
    let watch = || -> Result<bool, String> {
        let mut plan = SpawnPlan::new(&place.site, &nothing).map_err(text)?;
        let plain = format!("{:?}", plan.options);
        let mut armed = detector
            .arm(&place.site.set(), &mut plan.options)
            .map_err(text)?;
        ensure(format!("{:?}", plan.options) == plain, || {
            "it has to prepare the birth".to_owned()
        })?;
        armed.attach(root).map_err(text)?;
        say(0)?;
        match armed.wait(time::now() + PATIENCE).map_err(text)? {
            Verdict::Empty { decided_ns, .. } => say(decided_ns).map(|_| true),
            _ => Ok(false),
        }
    };
    let worker = worker(0, None, || i32::from(watch() != Ok(true)));
    Ok((worker.map_err(text)?, hear))
}

/// A number from a watcher; an error if it has ended without one.
fn hear_from(pipe: &OwnedFd) -> Result<u64, String> {
    let mut said = [0; 8];
    match nix::unistd::read(pipe, &mut said) {
        Ok(8) => Ok(u64::from_ne_bytes(said)),
        other => Err(format!("the watcher said nothing: {other:?}")),
    }
}

/// Up to Linux 6.18 a task leaves its cgroup before its end is reported (`cgroup_exit()` comes
/// before `exit_notify()` in `do_exit()`); since d245698d727a (6.19) after it, when it no longer
/// runs. So one of the two implies the other, and which one depends on the kernel.
fn order_of_this_kernel() -> Result<(), String> {
    let uname = nix::sys::utsname::uname().map_err(text)?;
    let release = uname.release().to_string_lossy().into_owned();
    let version = KernelVersion::parse(&release).ok_or(release)?;
    let place = Place::make()?;
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
    for round in 0..500 {
        let child = place.victim(|| 0)?;
        let deadline = time::now() + PATIENCE;
        let fd = child.pidfd.as_fd();
        let populated = || {
            place
                .site
                .cgroup
                .events()
                .map(|e| e.populated)
                .map_err(text)
        };
        let implied = if version < KernelVersion(6, 19) {
            poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], 10_000u16).map_err(text)?;
            !populated()?
        } else {
            while populated()? && !deadline.has_passed() {}
            let look = ended | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            waitid(Whose::Pidfd(fd), look).map_err(text)?.is_some()
        };
        waitid(Whose::Pidfd(fd), ended).map_err(text)?;
        ensure(implied, || {
            format!("Linux {version}, round {round}: the other order")
        })?;
    }
    Ok(())
}

/// `cgroup.procs` of a cgroup with a populated child is empty, and that of a threaded one cannot be
/// read; `populated` is 1 in both. A walk finds the process, once.
fn populated_without_a_list() -> Result<(), String> {
    let place = Place::make()?;
    let site = &place.site.cgroup;
    let below = site.create("below").map_err(text)?;
    let nested = worker(0, Some(below.as_fd()), sleep_for_ever).map_err(text)?;
    let listed = site.procs().map_err(text)?;
    let events = site.events().map_err(text)?;
    ensure(listed.is_empty() && events.populated, || {
        format!("{listed:?} {events:?}")
    })?;
    walk_finds(&place, nested.pid)?;

    let place = Place::make()?;
    let threaded = place.site.cgroup.create("threaded").map_err(text)?;
    threaded.write("cgroup.type", "threaded").map_err(text)?;
    let thread = place.sleeper()?;
    threaded
        .write("cgroup.threads", &thread.pid.to_string())
        .map_err(text)?;
    let refused = threaded.procs().map_err(|e| e.errno());
    let events = threaded.events().map_err(text)?;
    ensure(
        refused == Err(Some(Errno::EOPNOTSUPP)) && events.populated,
        || format!("{refused:?} {events:?}"),
    )?;
    walk_finds(&place, thread.pid)
}

fn walk_finds(place: &Place, pid: Pid) -> Result<(), String> {
    let found = place.site.cgroup.procs_recursive().map_err(text)?.pids;
    ensure(found == [pid.as_raw()], || format!("{found:?}, not {pid}"))
}

/// Who leaves out zombies finds nobody where a process lives on without its first thread.
fn listed_as_a_zombie() -> Result<(), String> {
    let place = Place::make()?;
    let program = workload(vec![vec![Op::ExitLeader, Op::Live { ns: FOREVER }]])?;
    let root = place.actor(&program, |_| {})?;
    wait_until("its first thread has ended", || {
        state_of(root.pid) == Some('Z')
    })?;
    let site = &place.site.cgroup;
    let listed = site.procs().map_err(text)?.pids;
    let events = site.events().map_err(text)?;
    ensure(listed == [root.pid.as_raw()] && events.populated, || {
        format!("{listed:?} {events:?}")
    })
}
