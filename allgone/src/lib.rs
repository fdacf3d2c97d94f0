//! Know when everything you started is gone, and make it go.
//!
//! [`Command`] has the shape of [`std::process::Command`], and starts a [`Job`]: a program with
//! everything that it starts, in a cgroup of its own. [`Completion`] says how it ended, with a
//! [`Proof`] that nothing of it is left. See [`job`].
//!
//! Below that: a [`ProcessSet`] is a cgroup of its own, a [`Detector`](detect::Detector) says when
//! every process of it has ended, a [`KillStrategy`](kill::KillStrategy) ends them.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use allgone::{Command, ProcessSet, cgroup::Cgroup, detect, spawn::SpawnOptions, sys::time};
//!
//! let base = Cgroup::open("/sys/fs/cgroup/my.service")?;
//! let set = ProcessSet::new(Arc::new(base.create("job-1")?));
//! let mut options = SpawnOptions::default();
//! let mut watch = detect::RECOMMENDED.arm(&set, &mut options)?;
//! let child = Command::new("make").arg("-j8").spawn_in(&set, &options)?;
//! watch.attach(&child)?;
//! let verdict = watch.wait(time::now() + Duration::from_secs(3600))?;
//! println!("{verdict:?}, {:?}", child.try_reap()?);
//! base.remove_child("job-1")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing in here touches the state of the process that uses it: no signal handler, no timer, no
//! signal mask, no subreaper flag, no working directory, no `waitpid(-1)`. What a mechanism of
//! another crate changes is stated in its [`Effects`].

pub mod base;
pub mod cgroup;
pub mod detect;
pub mod effects;
pub mod error;
pub mod guard;
pub mod host;
pub mod job;
pub mod kill;
pub mod layout;
pub mod limits;
pub mod param;
pub mod probe;
pub mod proc;
pub mod scope;
pub mod set;
pub mod spawn;
pub mod survivors;
pub mod teardown;

pub use allgone_sys as sys;
pub use allgone_sys::MonoNs;
pub use base::Base;
pub use effects::Effects;
pub use error::{SysError, Target};
pub use job::{Command, Completion, Job, Proof};
pub use set::ProcessSet;

/// The program of the README is compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
