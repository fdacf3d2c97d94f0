//! The launcher as a library: everything that `allgone run` promises, for programs that a process
//! of any size and with any number of threads starts.
//!
//! ```no_run
//! use std::time::Duration;
//! use allgone::sys::time::now;
//! use sandbox::launch::{Launch, Launcher, Program};
//!
//! let launcher = Launcher::start(&Program::Installed)?;
//! let mut run = Launch::builder("make")
//!     .arg("test")
//!     .current_dir("/src/project")
//!     .timeout(Duration::from_secs(30))
//!     .grace(Duration::from_secs(2))
//!     .pids(500)
//!     .spawn(&launcher)?;
//! // In any event loop: `run.as_fd()` is readable when `try_wait` has something to look at.
//! if let Some(over) = run.wait(now() + Duration::from_secs(60))? {
//!     println!("{:?}, ended by {:?}, {:?}", over.status, over.ended_by, over.proof);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Processes
//!
//! ```text
//! host ─┬─ socket ──── launchers' parent, one of it, no child of the host
//!       └─ channel ─── launcher ─── init ─── program, and all that it starts
//!                      (a copy of its parent, one a run)
//! ```
//!
//! [`Launcher::start`] executes the launchers' parent once, from a process that shares the host's
//! memory until then: no page table is copied, however large the host is. For each run it makes a
//! launcher, a copy of itself, small as it is. A launcher is the same code as the command `allgone
//! run`, with the same tiers, the same init and the same proofs. That is why a run may be of any
//! tier: where a tier needs a subreaper, which waits for any child until there is none left, that
//! is the launcher, which has no other children.
//!
//! # What the host's process has of it
//!
//! No signal handler, no mask, no timer, no subreaper flag, no child and no `SIGCHLD`, no working
//! directory is changed or used. One descriptor for the [`Launcher`] and one for its pidfd; one for
//! each [`Run`]. If the host is itself a subreaper, or PID 1 of its namespace, what its launchers'
//! parent leaves becomes its child, as everything does.
//!
//! # What each tier gives
//!
//! Over means over:
//!
//! - *namespace*: init's end comes after that of every other process of its PID namespace; and the
//!   cgroup, where there is one, is removed.
//! - *traced*: init has neither tracee nor child left, and then its launcher has no child left.
//! - *cgroup*: init has no child left, its launcher has none, and the cgroup is removed.
//!
//! When the host is killed, or drops the [`Run`], the launcher sees its channel hang up and kills
//! everything: init in the first two tiers, the cgroup in the third. When host and launcher are
//! killed, init kills everything and removes the cgroup; in the traced tier the kernel kills init
//! with its launcher, and the tracees with init. Init keeps the deadline, and its launcher does if
//! it does not: the host need not look. When the launchers' parent is killed, runs go on, and no
//! other can be started ([`LaunchError::Died`]). What the two weaker tiers lack is said by
//! [`Tier::lacks`](crate::tier::Tier::lacks), and by the report.
//!
//! # What a program gets
//!
//! Environment, directory and streams of the host when it is spawned, unless the builder says
//! otherwise; no other descriptor. No signal is blocked; ignored ones are those that the host
//! ignored at [`Launcher::start`]. A session and a process group of its own. Namespaces, cgroup,
//! user, limits and umask are those that the host's calling thread had at [`Launcher::start`].

mod builder;
mod completion;
mod error;
mod launcher;
mod running;
mod serve;
mod wire;

pub use builder::{Launch, Stream};
pub use completion::{Completion, Started, Status, Usage};
pub use error::LaunchError;
pub use launcher::{Launcher, Program};
pub use running::Run;
pub use serve::serve_if_asked;
pub(crate) use serve::served;

/// How the launchers' parent is called.
const NAME: &str = "allgone-launchers";
/// The descriptor that it has to its host.
const SOCKET: i32 = 3;
