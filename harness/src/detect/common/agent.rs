//! The release agent of a v1 hierarchy: the program that the kernel starts when a cgroup has become
//! empty. It is this executable, with another main function.
//!
//! The kernel gives it one argument, the cgroup's path, and an environment of two variables, so the
//! path has to say everything: the run that it belongs to, what is to be done (its suffix), and
//! where to report (an abstract Unix socket of that name: no file, and found from the initial
//! network namespace, in which agents run). A report is a hint: any process may send to such a
//! socket, and the state is read again.
//!
//! Sources: Documentation/admin-guide/cgroup-v1/cgroups.rst 1.4, kernel/cgroup/cgroup-v1.c:
//! `cgroup1_release_agent()`, kernel/umh.c.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use crate::error::{SysError, Target};
use crate::host::name::RunName;
use crate::host::{ProbeError, Support};
use crate::proc::Mounts;
use crate::sys::spawn::exit_now;

/// What the agent of a cgroup is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::detect) enum Task {
    /// Report that the cgroup was released.
    Report,
    /// Remove the cgroup of the same path in the v1 memory hierarchy, and report only if that
    /// fails.
    Remove,
}

impl Task {
    /// The suffix of its cgroup's path.
    const fn ending(self) -> &'static str {
        match self {
            Self::Report => ".report",
            Self::Remove => ".remove",
        }
    }

    /// A name for a cgroup whose agent does this.
    pub(in crate::detect) fn name(self, stem: &str) -> String {
        format!("{stem}{}", self.ending())
    }

    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ours = path.is_absolute() && tail(path).next().is_some();
        [Self::Report, Self::Remove]
            .into_iter()
            .find(|task| ours && name.ends_with(task.ending()))
    }
}

/// The part of a path that begins with the name of a run.
fn tail(path: &Path) -> impl Iterator<Item = std::path::Component<'_>> {
    path.components()
        .skip_while(|part| part.as_os_str().to_str().and_then(RunName::parse).is_none())
}

/// Whether this program can act as an agent; see [`act_as_release_agent`].
static PLAYED: AtomicBool = AtomicBool::new(false);

/// Acts as a release agent if the kernel has started this process as one; then it does not return.
/// Otherwise it returns at once, and from then on the detectors that need an agent use this
/// executable.
///
/// Call it first in `main`. In a program that never calls it these detectors are not available: the
/// kernel would run its normal `main`, as root, for every cgroup that becomes empty.
pub fn act_as_release_agent() {
    PLAYED.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(path), None) = (arguments.next(), arguments.next())
        && let Some(task) = Task::of(Path::new(&path))
    {
        exit_now(perform(task, Path::new(&path)))
    }
}

fn perform(task: Task, path: &Path) -> i32 {
    let report = match task {
        Task::Report => String::new(),
        Task::Remove => match remove(path) {
            Ok(()) => return 0,
            Err(e) => e.to_string(),
        },
    };
    let told = address(path).and_then(|to| {
        let socket = UnixDatagram::unbound()?;
        // A full queue already holds a hint. No receiver: the trial is over.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(report.as_bytes(), &to)
    });
    i32::from(told.is_err())
}

fn remove(path: &Path) -> Result<(), SysError> {
    let here = path
        .to_str()
        .and_then(|path| Mounts::read().ok()?.v1("memory", path));
    let dir =
        here.ok_or_else(|| SysError::path("find in the v1 memory hierarchy", path, Errno::ENOENT))?;
    std::fs::remove_dir(&dir).map_err(|e| SysError::io("rmdir", Target::Path(dir), &e))
}

fn address(path: &Path) -> io::Result<SocketAddr> {
    let name: PathBuf = tail(path).collect();
    SocketAddr::from_abstract_name(name.as_os_str().as_bytes())
}

/// The socket on which the agent of the cgroup at `path` (from the root of its hierarchy) reports.
pub(in crate::detect) fn listen(path: &Path) -> Result<UnixDatagram, SysError> {
    let bound = || -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::bind_addr(&address(path)?)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bound().map_err(|e| {
        SysError::io(
            "listen to the release agent",
            Target::Path(path.to_path_buf()),
            &e,
        )
    })
}

/// The program that the kernel is to start.
pub(in crate::detect) fn program() -> Result<PathBuf, SysError> {
    std::env::current_exe()
        .map_err(|e| SysError::io("readlink", Target::Path("/proc/self/exe".into()), &e))
}

/// Whether the kernel would find exactly this executable, and whether it calls
/// [`act_as_release_agent`].
pub(in crate::detect) fn usable() -> Result<Support, ProbeError> {
    if !PLAYED.load(Ordering::Relaxed) {
        return Ok(Support::missing(
            "this program does not know the part of a release agent",
            "a program that calls harness::detect::act_as_release_agent first of all, as \
                `scenario` does",
        ));
    }
    // Process 2 is the parent of all kernel threads; its namespaces are the initial ones, in which
    // agents run.
    let own = namespace("/proc/self/ns/mnt")?;
    let initial = namespace("/proc/2/ns/mnt")?;
    let kthreadd = match std::fs::read_to_string("/proc/2/comm") {
        Ok(name) => name.trim_end() == "kthreadd",
        Err(e) => not_there(SysError::io(
            "read",
            Target::Path("/proc/2/comm".into()),
            &e,
        ))
        .map(|()| false)?,
    };
    if kthreadd && own.is_some() && own == initial {
        return Ok(Support::Available);
    }
    Ok(Support::missing(
        "this process is not known to be in the initial mount namespace, in which the kernel looks \
         for a release agent",
        "run as root outside of containers",
    ))
}

/// What the link of a namespace says. Nothing where it is not shown.
fn namespace(path: &str) -> Result<Option<PathBuf>, SysError> {
    match std::fs::read_link(path) {
        Ok(link) => Ok(Some(link)),
        Err(e) => not_there(SysError::io("readlink", Target::Path(path.into()), &e)).map(|()| None),
    }
}

/// An error, unless it says that this process is not shown what it has asked for.
fn not_there(error: SysError) -> Result<(), SysError> {
    match error.errno {
        Errno::ENOENT | Errno::EACCES | Errno::EPERM => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_paths_of_runs_make_an_agent() {
        let of = |path: &str| Task::of(Path::new(path));
        assert_eq!(of("/scenario-1-2-3.trial-0.report"), Some(Task::Report));
        assert_eq!(
            of("/a/b/scenario-1-2-3/trial-0/site.remove"),
            Some(Task::Remove)
        );
        for other in [
            "scenario-1-2-3.report",
            "/scenario-1-2.report",
            "/site.report",
            "/scenario-1-2-3",
            "/",
            "forkbomb",
            "--report",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn both_sides_find_the_same_socket_and_a_failed_removal_is_told() {
        // No such cgroup: the agent that is to remove it fails, and says so.
        let path =
            Path::new("/elsewhere").join(Task::Remove.name(&crate::host::run_name().unwrap()));
        let socket = listen(&path).unwrap();
        assert_eq!(perform(Task::Remove, &path), 0);
        let mut report = [0; 256];
        let length = socket.recv(&mut report).unwrap();
        assert!(
            String::from_utf8_lossy(&report[..length]).contains("ENOENT"),
            "{report:?}"
        );
        drop(socket);
        assert_eq!(perform(Task::Report, &path), 1, "nobody listens");
    }

    #[test]
    fn a_program_that_does_not_play_has_no_agent() {
        // This test runner is one.
        assert!(matches!(usable(), Ok(Support::Missing { why, .. }) if why.contains("part")));
    }

    proptest! {
        #[test]
        fn no_argument_panics(argument in ".{0,40}") {
            let task = Task::of(Path::new(&argument));
            prop_assert!(task.is_none() || argument.contains("scenario-"));
        }
    }
}
