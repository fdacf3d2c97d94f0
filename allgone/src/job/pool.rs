//! Cgroups that are kept populated, so that the end of a job is reported at once, whichever process
//! is its last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::{JobError, StartError};
use super::place::{Ground, Place, Sealed};
use super::site::Site;
use super::start::Starter;
use crate::base::Base;
use crate::cgroup::remove_when_empty;
use crate::detect::Pool as Warm;

/// Longer than the kernel delays an event of `cgroup.events`, at every tick rate.
const WARM_UP: Duration = Duration::from_millis(25);

/// A number of cgroups, each populated by a sleeping process that leaves when a job has come.
///
/// The kernel delays an event of `cgroup.events` by 10 to 20 ms after another one, and the start of
/// a job is an event. That matters to jobs that live less than that and whose *last* process is not
/// their first: in a cgroup that has been populated before, their start is not an event, and their
/// end is reported at once.
///
/// Nothing happens in the background: call [`Pool::refill`] when there is time. A spawn that finds
/// no warm cgroup makes one, and [`Mechanisms`](super::Mechanisms) says so.
///
/// Each cgroup costs a process, that is a child of the host, and four descriptors. Dropping the
/// pool ends and removes them; in a copy of the process that was made by fork(2), it does nothing.
///
/// ```no_run
/// use allgone::{Base, Command, job::Pool};
///
/// let pool = Pool::new(&Base::find()?, 8)?;
/// let job = Command::new("sh").args(["-c", "sleep 0.001 & exit"]).spawn(&pool)?;
/// pool.refill()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    base: Base,
    starter: Arc<dyn Starter>,
    warm: Mutex<Option<Warm>>,
    host: u32,
}

impl Pool {
    /// `size` cgroups at `place`, populated from now on; each is warm after 25 ms.
    ///
    /// Errors: as [`Command::spawn`](super::Command::spawn).
    pub fn new(place: &impl Place, size: usize) -> Result<Self, JobError> {
        let (base, starter) = place.starter();
        let pool = Self {
            base,
            starter,
            warm: Mutex::new(Some(Warm::new(size, WARM_UP))),
            host: std::process::id(),
        };
        pool.refill()?;
        Ok(pool)
    }

    /// Replaces the cgroups that were taken; returns how many were added.
    ///
    /// Errors: as [`Command::spawn`](super::Command::spawn); what was made before stays.
    pub fn refill(&self) -> Result<usize, JobError> {
        let added = self.with(|warm| {
            warm.refill(|_| {
                let name = self.starter.child_name(&self.base)?;
                self.base.cgroup().create(&name)
            })
        });
        added.map_err(JobError::from)
    }

    /// Sleeps until every cgroup is warm: 25 ms at most.
    pub fn wait_warm(&self) {
        self.with(|warm| warm.wait_warm());
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Warm) -> T) -> T {
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(warm.get_or_insert_with(|| Warm::new(0, WARM_UP)))
    }
}

impl Place for Pool {}

impl Sealed for Pool {
    fn ground(&self) -> Result<Ground, StartError> {
        let (site, placeholder) = match self.with(Warm::take) {
            Some(taken) => (
                Site::taken(&self.base, taken.cgroup),
                Some(taken.placeholder),
            ),
            None => (
                Site::make(&self.base, self.starter.child_name(&self.base)?)?,
                None,
            ),
        };
        Ok(Ground {
            site,
            starter: self.starter.clone(),
            placeholder,
        })
    }

    fn starter(&self) -> (Base, Arc<dyn Starter>) {
        (self.base.clone(), self.starter.clone())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // In a forked copy of the host, placeholders do nothing when they are dropped either.
        if self.host != std::process::id() {
            return;
        }
        let warm = self.warm.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What cannot be removed is left: a drop cannot report an error.
        if let Some(Ok(cgroups)) = warm.take().map(Warm::drain) {
            for cgroup in cgroups {
                match remove_when_empty(cgroup) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
}
