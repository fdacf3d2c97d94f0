//! Where jobs are started.

use std::fmt;
use std::sync::Arc;

use super::error::StartError;
use super::own::Own;
use super::site::Site;
use super::start::Starter;
use crate::base::Base;
use crate::detect::Placeholder;

/// Where jobs are started: a [`Base`], or something that is made of one, such as a
/// [`Pool`](super::Pool).
pub trait Place: Sealed {}

/// Implemented only by this crate.
pub trait Sealed: fmt::Debug {
    /// A cgroup for one job, and what starts programs in it.
    fn ground(&self) -> Result<Ground, StartError>;

    /// The base, and what starts programs there.
    fn starter(&self) -> (Base, Arc<dyn Starter>);
}

/// Where one job is to be started.
#[derive(Debug)]
pub struct Ground {
    pub(crate) site: Site,
    pub(crate) starter: Arc<dyn Starter>,
    /// What keeps the cgroup populated until the job is in it.
    pub(crate) placeholder: Option<Placeholder>,
}

impl Place for Base {}

impl Sealed for Base {
    fn ground(&self) -> Result<Ground, StartError> {
        Ok(Ground {
            site: Site::make(self, self.child_name()?)?,
            starter: Arc::new(Own),
            placeholder: None,
        })
    }

    fn starter(&self) -> (Base, Arc<dyn Starter>) {
        (self.clone(), Arc::new(Own))
    }
}
