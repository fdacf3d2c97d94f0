//! Costs of the primitives that detectors and strategies are made of: the mean of one call, in a
//! loop, caches warm.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use benches::trials::{reference, spec};
use benches::{Frame, Group, workload};
use criterion::{BenchmarkId, Criterion, Throughput};
use harness::cgroup::Cgroup;
use harness::sys::fork::{self, Worker};
use harness::sys::spawn::{self, Entry, Session, Spawned};
use harness::sys::{pidfd, wait};
use harness::trial::Workload;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{pause, pipe2, read, write};

/// Members of a cgroup that is read.
const MEMBERS: [usize; 3] = [1, 8, 64];

fn main() -> ExitCode {
    benches::main(&Group {
        name: "primitives",
        anywhere,
        in_cgroup,
    })
}

fn anywhere(criterion: &mut Criterion) {
    let own = nix::unistd::getpid();
    criterion.bench_function("primitives/pidfd_open and close", |bencher| {
        bencher.iter(|| pidfd::open(own).expect("this process exists"));
    });
    epoll_round_trip(criterion);
}

/// A byte to another process that sleeps in epoll_wait(2), and one back: two wake-ups.
fn epoll_round_trip(criterion: &mut Criterion) {
    let (hear, ask) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let (answer, tell) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let ask = Cell::new(Some(ask));
    let echo = fork::worker(0, None, || {
        // Its copy of the write end has to be closed, or it would never see the end of file.
        drop(ask.take());
        let wait = awaiting(hear.as_fd());
        let mut byte = [0];
        loop {
            wait();
            match read(&hear, &mut byte) {
                Ok(1) if write(&tell, &byte) == Ok(1) => {}
                _ => return 0,
            }
        }
    })
    .expect("one more process");
    let ask = ask
        .take()
        .expect("only the copy was dropped, in the copy of this process");
    let wait = awaiting(answer.as_fd());
    criterion.bench_function(
        "primitives/epoll round trip between two processes",
        |bencher| {
            bencher.iter(|| {
                assert_eq!(write(&ask, b"?"), Ok(1));
                wait();
                assert_eq!(read(&answer, &mut [0]), Ok(1));
            });
        },
    );
    drop(ask);
    gone(&echo);
}

/// Sleeps in epoll_wait(2) until `fd` can be read.
fn awaiting(fd: BorrowedFd<'_>) -> impl Fn() + use<> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
    epoll
        .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .expect("a pipe can be watched");
    move || {
        let mut events = [EpollEvent::empty()];
        while epoll.wait(&mut events, EpollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
    }
}

fn in_cgroup(criterion: &mut Criterion, frame: &mut Frame<'_>) {
    let program = workload::exiting().expect("/proc is mounted");
    let seq = frame.next_seq();
    let site = frame.site(&spec(
        seq,
        workload::exiting().expect("/proc is mounted"),
        reference(),
        None,
    ));
    read_events(criterion, &site.cgroup);
    make_and_remove(criterion, &site.cgroup);
    start(criterion, frame, &site.cgroup, &program);
    scan(criterion, &site.cgroup);
}

/// Read and parse `cgroup.events`: what every wake-up of a cgroup detector costs.
fn read_events(criterion: &mut Criterion, cgroup: &Cgroup) {
    let file = cgroup.events_file().expect("the cgroup is ours and exists");
    criterion.bench_function("primitives/read and parse cgroup.events", |bencher| {
        bencher.iter(|| file.read().expect("the cgroup is ours and exists"));
    });
}

/// mkdir(2) and rmdir(2) of a cgroup: what a cgroup for each job costs.
fn make_and_remove(criterion: &mut Criterion, cgroup: &Cgroup) {
    criterion.bench_function("primitives/mkdir and rmdir of a cgroup", |bencher| {
        bencher.iter(|| {
            cgroup.create("one").expect("a child can be made");
            cgroup.remove_child("one").expect("it is empty");
        });
    });
}

/// The smallest workload from clone3 to its end: where it was, born in a cgroup, and moved there by
/// its parent before exec.
fn start(criterion: &mut Criterion, frame: &Frame<'_>, cgroup: &Cgroup, program: &Workload) {
    criterion.bench_function("primitives/clone3, exec, exit, waitid", |bencher| {
        bencher.iter(|| ended(&clone(program, None, None)));
    });
    if clone_into(program, cgroup) == Entry::Born {
        criterion.bench_function(
            "primitives/clone3 into a cgroup, exec, exit, waitid",
            |bencher| {
                bencher.iter(|| clone_into(program, cgroup));
            },
        );
    } else {
        frame.leave_out("clone3 into a cgroup", "CLONE_INTO_CGROUP is refused here");
    }
    match clone_and_move(program, cgroup) {
        Ok(()) => {
            criterion.bench_function(
                "primitives/clone3, write cgroup.procs, exec, exit, waitid",
                |bencher| {
                    bencher.iter(|| clone_and_move(program, cgroup).expect("it worked before"));
                },
            );
        }
        Err(e) => {
            frame.leave_out("write cgroup.procs", e);
        }
    }
}

fn clone(
    program: &Workload,
    cgroup: Option<BorrowedFd<'_>>,
    gate: Option<BorrowedFd<'_>>,
) -> Spawned {
    let plan = spawn::Plan {
        envp: &program.envp,
        cgroup,
        session: Session::Inherit,
        gate,
        ..spawn::Plan::new(program.exe.as_fd(), &program.argv)
    };
    spawn::spawn(&plan).expect("one more process can be started")
}

fn ended(spawned: &Spawned) {
    let change = wait::waitid(
        wait::Whose::Pidfd(spawned.pidfd.as_fd()),
        WaitPidFlag::WEXITED,
    )
    .expect("it is a child");
    assert!(
        change.is_some_and(|c| c.ended()),
        "waitid waits for the end"
    );
}

fn clone_into(program: &Workload, cgroup: &Cgroup) -> Entry {
    let spawned = clone(program, Some(cgroup.as_fd()), None);
    ended(&spawned);
    spawned.entry
}

/// An error if it may not be moved there. It is gone in either case.
fn clone_and_move(program: &Workload, cgroup: &Cgroup) -> Result<(), harness::cgroup::CgroupError> {
    let (read, gate) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let spawned = clone(program, None, Some(read.as_fd()));
    let moved = cgroup.write("cgroup.procs", &spawned.pid.to_string());
    File::from(gate)
        .write_all(b"g")
        .expect("the child waits for it");
    ended(&spawned);
    moved
}

/// The members of a cgroup and their state: what strategies pay that kill one by one.
fn scan(criterion: &mut Criterion, cgroup: &Cgroup) {
    let mut group = criterion.benchmark_group("primitives");
    for members in MEMBERS {
        let sleepers: Vec<Worker> = (0..members)
            .map(|_| {
                fork::worker(0, Some(cgroup.as_fd()), || {
                    loop {
                        pause();
                    }
                })
                .expect("one more process")
            })
            .collect();
        group.throughput(Throughput::Elements(
            u64::try_from(members).unwrap_or(u64::MAX),
        ));
        group.bench_function(
            BenchmarkId::new("read and parse cgroup.procs", members),
            |bencher| {
                bencher.iter(|| assert_eq!(pids(cgroup).len(), members));
            },
        );
        group.bench_function(
            BenchmarkId::new("cgroup.procs and each stat", members),
            |bencher| {
                bencher.iter(|| {
                    for pid in pids(cgroup) {
                        std::fs::read(format!("/proc/{pid}/stat")).expect("it sleeps");
                    }
                });
            },
        );
        for sleeper in &sleepers {
            pidfd::send_signal(sleeper.pidfd.as_fd(), Some(Signal::SIGKILL)).expect("it sleeps");
            gone(sleeper);
        }
    }
}

fn pids(cgroup: &Cgroup) -> Vec<i32> {
    cgroup.procs().expect("the cgroup is ours and exists").pids
}

fn gone(worker: &Worker) {
    wait::waitid(
        wait::Whose::Pidfd(worker.pidfd.as_fd()),
        WaitPidFlag::WEXITED,
    )
    .expect("it is a child");
}
