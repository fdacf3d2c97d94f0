//! Start a program, know when everything of it is gone, and get the proof.
//!
//! ```no_run
//! use std::time::Duration;
//! use allgone::{Base, Command, sys::time::now};
//!
//! let base = Base::find()?;
//! let mut job = Command::new("make").arg("-j8").spawn(&base)?;
//! match job.wait(now() + Duration::from_secs(3600))? {
//!     Some(done) => println!("{:?}: {:?}", done.status, done.proof),
//!     None => println!("killed: {:?}", job.kill()?.proof),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Command`] has the shape of [`std::process::Command`]. [`Command::spawn`] makes a cgroup
//! below a [`Base`](crate::Base), lets the program be born in it, and returns a [`Job`]: the
//! program and all that it starts, however it forks, leaves its session or its parent. The job is
//! over when the last of them has ended. [`Completion`] says how the first process ended, what was
//! used, by which mechanisms that is known, and a [`Proof`].
//!
//! A job is one descriptor ([`AsFd`](std::os::fd::AsFd)) that is readable when
//! [`Job::try_wait`] is to be called: it goes into any event loop, and thousands of jobs into one.
//! With the feature `tokio` there is `AsyncJob`.
//!
//! Nothing here touches the state of the process that uses it: see [`Job::effects`].

#[cfg(feature = "tokio")]
mod asynchronous;
mod bell;
mod command;
mod completion;
mod effects;
mod ending;
mod error;
mod guarded;
mod limits;
mod output;
mod own;
mod place;
mod pool;
mod running;
mod site;
mod start;
mod stdio;
mod usage;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncJob;
pub use command::{Command, OutputError};
pub use completion::{
    Completion, Cpu, Ended, Mechanisms, PeakMemory, Proof, ToldBy, Usage, UsageOf,
};
pub use effects::{JobEffects, Orphans};
pub use error::{JobError, StartError};
pub use guarded::Guarded;
pub use output::Output;
pub use place::Place;
pub use pool::Pool;
pub use running::{DROP_LIMIT, Job, KILL_LIMIT, Leftovers};
pub use stdio::Stdio;
