//! Costs of the primitives that detectors and strategies are made of.
//!
//! What these figures are: the mean cost of one call, in a loop, caches warm. What they are not: latencies of detection; those have tails and
//! come from recorded trials.
//!
//! Two of the three need a cgroup of their own, which is made in the base that the command `scenario` would use, and removed at the end.
//! Where there is none, they are left out, and the reason is printed.
#![expect(
    clippy::print_stderr,
    reason = "a program, not a library: what was left out must be said"
)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use criterion::Criterion;
use harness::cgroup::Cgroup;
use harness::host::{Base, Detected, Host, Options, run_name};
use harness::sys::pidfd;
use harness::sys::spawn::{self, Entry, Session, Spawned};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

/// A cgroup of this process's own, empty, below a base that it may use.
struct Place {
    base: Base,
    name: String,
    cgroup: Cgroup,
}

impl Place {
    fn make() -> Result<Self, String> {
        // A placeholder needs no belt: nothing here forks more than one process at a time. Nor is this program re-run by systemd.
        let options = Options {
            allow_no_belt: true,
            program: None,
            ..Options::default()
        };
        let host = match Host::detect(&options).map_err(|e| e.to_string())? {
            Detected::Host(host) => *host,
            Detected::Rerun(_) => return Err("a scope would have to be asked of systemd".to_owned()),
        };
        let base = host.base.ok_or_else(|| {
            host.no_base
                .map_or_else(|| "no cgroup was found".to_owned(), |none| none.to_string())
        })?;
        let name = run_name().map_err(|e| e.to_string())?;
        let cgroup = base.cgroup.create(&name).map_err(|e| e.to_string())?;
        Ok(Self { base, name, cgroup })
    }

    /// Removes the cgroup, and takes back whatever was changed to get it.
    fn remove(mut self) -> Result<(), String> {
        self.base
            .cgroup
            .remove_child(&self.name)
            .map_err(|e| format!("left a cgroup behind: {e}"))?;
        match self.base.undo().first() {
            None => Ok(()),
            Some(error) => Err(format!("could not take back a change: {error}")),
        }
    }
}

/// Read and parse `cgroup.events`: what every wake-up of a cgroup detector costs.
fn read_events(criterion: &mut Criterion, place: &Place) {
    let file = place.cgroup.events_file().expect("the cgroup is ours and exists");
    criterion.bench_function("read cgroup.events", |bencher| {
        bencher.iter(|| file.read().expect("the cgroup is ours and exists"));
    });
}

/// `pidfd_open` and `close`: what watching one more process costs.
fn open_pidfd(criterion: &mut Criterion) {
    let own = nix::unistd::getpid();
    criterion.bench_function("pidfd_open and close", |bencher| {
        bencher.iter(|| pidfd::open(own).expect("this process exists"));
    });
}

/// `clone3(CLONE_INTO_CGROUP)`, `execveat`, exit, `waitid`: what the smallest workload costs, born in place.
fn start_into_cgroup(criterion: &mut Criterion, place: &Place, program: &File) {
    criterion.bench_function("clone3 into a cgroup, exec true, waitid", |bencher| {
        bencher.iter(|| {
            let spawned = start(program, place.cgroup.as_fd());
            assert_eq!(
                spawned.entry,
                Entry::Born,
                "a child that moves itself is another measurement"
            );
            let status = waitid(Id::PIDFd(spawned.pidfd.as_fd()), WaitPidFlag::WEXITED);
            assert_eq!(status, Ok(WaitStatus::Exited(spawned.pid, 0)));
        });
    });
}

fn start(program: &File, cgroup: BorrowedFd<'_>) -> Spawned {
    let plan = spawn::Plan {
        exe: program.as_fd(),
        argv: &[c"true".to_owned()],
        envp: &[],
        cgroup: Some(cgroup),
        clone_flags: 0,
        session: Session::Inherit,
        credentials: None,
        inherit: &[],
        gate: None,
        init: false,
        parent_death_signal: None,
        affinity: None,
    };
    spawn::spawn(&plan).expect("one more process can be started")
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    open_pidfd(&mut criterion);
    let left_over = match Place::make() {
        Ok(place) => in_cgroup(&mut criterion, place).err(),
        Err(reason) => {
            eprintln!("left out, for want of a cgroup: read cgroup.events; clone3 into a cgroup\n{reason}");
            None
        }
    };
    criterion.final_summary();
    if let Some(error) = left_over {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn in_cgroup(criterion: &mut Criterion, place: Place) -> Result<(), String> {
    read_events(criterion, &place);
    match File::open("/bin/true") {
        Ok(program) => start_into_cgroup(criterion, &place, &program),
        Err(error) => eprintln!("left out: clone3 into a cgroup: could not open /bin/true: {error}"),
    }
    place.remove()
}
