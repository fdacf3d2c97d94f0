//! A job in a tokio runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::completion::Completion;
use super::error::JobError;
use super::running::Job;
use crate::error::{SysError, Target};

/// A [`Job`] whose end is awaited in a tokio runtime (feature `tokio`).
///
/// It is registered by a duplicate of its one descriptor, so it holds one more; no thread, no
/// signal handler and no timer of the runtime are used. A wait can be dropped and started again at
/// any time, as `tokio::time::timeout` and `tokio::select!` do.
///
/// Dropping it drops the job, which may block the thread for up to
/// [`DROP_LIMIT`](super::DROP_LIMIT) if it is not over.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use allgone::{Base, Command, job::AsyncJob};
///
/// let mut job = AsyncJob::new(Command::new("make").spawn(&Base::find()?)?)?;
/// let done = match tokio::time::timeout(Duration::from_secs(60), job.wait()).await {
///     Ok(done) => done?,
///     Err(_) => job.kill().await?,
/// };
/// println!("{:?}: {:?}", done.status, done.proof);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsyncJob {
    /// Nothing else can reach or close it, which is what `AsyncFd` relies on: the job itself is
    /// handed out by `get_mut`, and could be exchanged. Dropped first.
    ready: AsyncFd<OwnedFd>,
    job: Job,
}

impl AsyncJob {
    /// Registers a job with the runtime of the calling task.
    ///
    /// Errors: fcntl(2), epoll_ctl(2); the job is then dropped. Panics outside of a runtime, as
    /// tokio does.
    pub fn new(job: Job) -> Result<Self, JobError> {
        let own = job.as_fd().try_clone_to_owned().map_err(|e| failed(&e))?;
        // Its successor, since tokio 1.54, is unsafe, because a type may close its descriptor while
        // it is registered. An `OwnedFd` does not.
        #[allow(deprecated, reason = "see above; and this works with earlier versions")]
        let registered = AsyncFd::with_interest(own, Interest::READABLE);
        Ok(Self {
            ready: registered.map_err(|e| failed(&e))?,
            job,
        })
    }

    /// The job.
    pub fn get_ref(&self) -> &Job {
        &self.job
    }

    /// The job. It must not be exchanged for another one: a wait would then sleep until the first
    /// one has something new.
    pub fn get_mut(&mut self) -> &mut Job {
        &mut self.job
    }

    /// Takes it out of the runtime again.
    pub fn into_inner(self) -> Job {
        self.job
    }

    /// Waits until it is over. Can be cancelled.
    ///
    /// Errors: as [`Job::try_wait`].
    pub async fn wait(&mut self) -> Result<Completion, JobError> {
        loop {
            if let Some(done) = self.job.try_wait()? {
                return Ok(done);
            }
            let mut ready = self.ready.readable().await.map_err(|e| failed(&e))?;
            // Cleared before the next check: a later event makes it ready again.
            ready.clear_ready();
        }
    }

    /// As [`Job::kill`]. If it is cancelled, the kill goes on at the next wait.
    pub async fn kill(&mut self) -> Result<Completion, JobError> {
        self.job.start_kill()?;
        self.wait().await
    }

    /// As [`Job::terminate`]. If it is cancelled, it goes on at the next wait.
    pub async fn terminate(&mut self, grace: Duration) -> Result<Completion, JobError> {
        self.job.start_terminate(grace)?;
        self.wait().await
    }
}

fn failed(error: &io::Error) -> JobError {
    SysError::io("register a job with the runtime", Target::Nothing, error).into()
}
