//! The set of processes that is watched and killed.

use std::path::Path;
use std::sync::Arc;

use crate::cgroup::Cgroup;
use crate::limits::V1Dirs;
use crate::param::{Axis, ParamPoint};
use crate::sys::spawn::Credentials;

/// A set of processes: a cgroup of its own, and what belongs to it.
///
/// Owned and cheap to clone, so that a watch can outlive the stack frame that armed it and move to
/// another thread.
///
/// ```no_run
/// use std::sync::Arc;
/// use allgone::{ProcessSet, cgroup::Cgroup};
///
/// let base = Cgroup::open("/sys/fs/cgroup/my.service")?;
/// let set = ProcessSet::new(Arc::new(base.create("job-1")?));
/// assert!(set.cgroup().path().ends_with("job-1"));
/// # Ok::<(), allgone::cgroup::CgroupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProcessSet {
    cgroup: Arc<Cgroup>,
    parent: Option<Arc<Cgroup>>,
    helpers: Option<Arc<Cgroup>>,
    v1: Option<V1Dirs>,
    user: Option<Credentials>,
    label: String,
    params: ParamPoint,
}

impl ProcessSet {
    /// The processes of `cgroup` and of all its descendants. The cgroup belongs to the set alone.
    pub fn new(cgroup: Arc<Cgroup>) -> Self {
        let name = |path: Option<&Path>| {
            path.and_then(Path::file_name)
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let path = cgroup.path();
        let label = format!("{}.{}", name(path.parent()), name(Some(path)));
        Self {
            cgroup,
            parent: None,
            helpers: None,
            v1: None,
            user: None,
            label,
            params: ParamPoint::default(),
        }
    }

    /// Names the cgroup that the set's cgroup lies in, where a mechanism may make others beside it.
    #[must_use]
    pub fn with_parent(mut self, parent: Arc<Cgroup>) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Names a cgroup outside the set for processes that a mechanism starts for itself.
    #[must_use]
    pub fn with_helpers(mut self, helpers: Arc<Cgroup>) -> Self {
        self.helpers = Some(helpers);
        self
    }

    /// Names the set's directories in v1 hierarchies.
    #[must_use]
    pub fn with_v1(mut self, v1: Option<V1Dirs>) -> Self {
        self.v1 = v1;
        self
    }

    /// Says that the members have a user of their own, which no process outside the set has.
    #[must_use]
    pub fn with_user(mut self, user: Option<Credentials>) -> Self {
        self.user = user;
        self
    }

    /// Gives the set a name of one word, which a mechanism uses for what it creates elsewhere.
    #[must_use]
    pub fn with_label(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    /// Sets the values of axes that are not to have their defaults.
    #[must_use]
    pub fn with_params(mut self, params: ParamPoint) -> Self {
        self.params = params;
        self
    }

    /// The cgroup.
    pub fn cgroup(&self) -> &Arc<Cgroup> {
        &self.cgroup
    }

    /// The cgroup around it, if mechanisms may use it.
    pub fn parent(&self) -> Option<&Arc<Cgroup>> {
        self.parent.as_ref()
    }

    /// Where processes of a mechanism itself are to live, if not in the caller's cgroup.
    pub fn helpers(&self) -> Option<&Arc<Cgroup>> {
        self.helpers.as_ref()
    }

    /// Directories in v1 hierarchies.
    pub fn v1(&self) -> Option<&V1Dirs> {
        self.v1.as_ref()
    }

    /// The members' own user.
    pub fn user(&self) -> Option<Credentials> {
        self.user
    }

    /// One word that names the set.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The value of an axis.
    pub fn param(&self, axis: &Axis) -> u64 {
        self.params.get(axis)
    }
}
