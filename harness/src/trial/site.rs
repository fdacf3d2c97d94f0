//! What belongs to one trial: a watched cgroup, the cgroup around it that carries the limits, and
//! the ledger.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allgone::ProcessSet;
use allgone::limits::V1Dirs;

use super::{Beside, Run, TrialError, TrialSpec, throttle};
use crate::cgroup::Cgroup;
use crate::error::{SysError, Target};
use crate::expect::Plane;
use crate::host::LimitSource;
use crate::host::scratch;
use crate::param::{Axis, ParamPoint};
use crate::sys::ledger::Ledger;
use crate::sys::spawn::Credentials;

/// The place of one trial.
///
/// ```text
/// scenario-<run>/          the run
///   control/               observers and canaries
///   <trial>/               limits (pids.max, memory.max); one canary lives here
///     site/                the workload is born here; detectors watch it, strategies kill it
/// ```
#[derive(Debug)]
pub struct Site {
    /// The watched cgroup.
    pub cgroup: Arc<Cgroup>,
    /// Its parent, which carries the limits where controllers are v2.
    pub parent: Arc<Cgroup>,
    /// Where the harness's own helpers live.
    pub control: Arc<Cgroup>,
    /// The limits of a hybrid machine.
    pub v1: Option<V1Dirs>,
    /// Where the workload has to enter, if it has a limit on processor time that is not its
    /// parent's.
    pub throttle: Option<PathBuf>,
    /// A set-user-ID copy of the workload's program, if the stage gives it one.
    pub setuid: Option<OwnedFd>,
    /// What the actors tell.
    pub ledger: Ledger,
    /// The actors' user; `None` if the harness is not root, and actors share its user.
    pub credentials: Option<Credentials>,
    /// A process of the tree may live outside of the site, in [`Site::control`].
    pub outside: bool,
    /// Which plane this trial belongs to.
    pub plane: Plane,
    /// The values of all axes.
    pub params: ParamPoint,
}

impl Site {
    /// The value of an axis in this trial.
    pub fn param(&self, axis: &Axis) -> u64 {
        self.params.get(axis)
    }

    /// The site as mechanisms see it.
    pub fn set(&self) -> ProcessSet {
        ProcessSet::new(self.cgroup.clone())
            .with_parent(self.parent.clone())
            .with_helpers(self.control.clone())
            .with_v1(self.v1.clone())
            .with_user(self.credentials)
            .with_label(self.label())
            .with_params(self.params.clone())
    }

    /// The `tasks` of the cgroup that the workload has to enter: see [`throttle`].
    pub(super) fn open_throttle(&self) -> Result<Option<OwnedFd>, SysError> {
        let open = |dir: &PathBuf| {
            let tasks = dir.join("tasks");
            let file = std::fs::File::options().write(true).open(&tasks);
            file.map(OwnedFd::from)
                .map_err(|e| SysError::io("open", Target::Path(tasks), &e))
        };
        self.throttle.as_ref().map(open).transpose()
    }

    /// Run and trial in one word: the name of what a mechanism makes elsewhere, by which it is
    /// found if the run could not remove it.
    pub fn label(&self) -> String {
        let last = |dir: Option<&Path>| {
            dir.and_then(Path::file_name)
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let trial = self.parent.path();
        format!("{}.{}", last(trial.parent()), last(Some(trial)))
    }

    /// Makes the cgroups, puts the limits on, and makes an empty ledger. After an error nothing of
    /// it is there.
    pub(super) fn make(run: &mut Run<'_>, spec: &TrialSpec<'_>) -> Result<Self, TrialError> {
        if spec.stage.hostile && *run.limits() == LimitSource::None && !run.options().no_limits {
            return Err(TrialError::NoBelt(spec.scenario.to_owned()));
        }
        let setuid = match spec.stage.setuid {
            true => Some(run.setuid_copy(&spec.workload.exe)?),
            false => None,
        };
        let (parent, v1) = run.belted(&Self::part(spec), spec.limits())?;
        Self::below(run, (parent, v1, setuid), spec)
            .map_err(|error| run.undo(&Self::part(spec), error))
    }

    /// Run and trial in one word, before there is a site.
    fn name_of(run: &str, seq: u32) -> String {
        format!("{run}.trial-{seq}")
    }

    /// The directory that a program has in trial `seq` of `run` for its files, which nothing else
    /// may write to. It is removed with the trial.
    pub fn scratch_of(run: &str, seq: u32) -> PathBuf {
        scratch::path(&Self::name_of(run, seq))
    }

    /// The name of this trial's part of the run.
    pub(super) fn part(spec: &TrialSpec<'_>) -> String {
        format!("trial-{}", spec.seq)
    }

    fn below(
        run: &Run<'_>,
        (parent, v1, setuid): (Cgroup, Option<V1Dirs>, Option<OwnedFd>),
        spec: &TrialSpec<'_>,
    ) -> Result<Self, TrialError> {
        let cgroup = parent.create("site")?;
        if spec.workload.program.is_some() {
            scratch::make(&Self::name_of(run.name(), spec.seq), run.credentials())?;
        }
        if spec.stage.delegated
            && let Some(Credentials { uid, gid }) = run.credentials()
        {
            cgroup.delegate(uid, gid)?;
        }
        Ok(Self {
            cgroup: Arc::new(cgroup),
            control: Arc::new(run.control().try_clone()?),
            v1,
            setuid,
            throttle: match spec.stage.throttled {
                false => None,
                true => {
                    let label = Self::name_of(run.name(), spec.seq);
                    throttle::apply(run.limits(), &parent, &label)?
                }
            },
            parent: Arc::new(parent),
            ledger: Ledger::create().map_err(|e| SysError::plain("memfd_create", e))?,
            credentials: run.credentials(),
            outside: spec.stage.beside == Beside::Broker,
            plane: spec.plane(),
            params: spec.params.clone(),
        })
    }
}
