//! Where one run happens: cgroups of its own, with limits, from which what is left can be counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use allgone::base::Base;
use allgone::cgroup::Cgroup;
use allgone::limits::{Limit, V1Dirs, enforce};
use allgone::sys::time::now;
use allgone::teardown::tear_down;

/// How long it may take to end what a run has left.
const CLEAN: Duration = Duration::from_secs(10);

/// The cgroups of a run.
#[derive(Debug)]
pub(crate) struct Ground {
    run: Cgroup,
    v1: Option<V1Dirs>,
    /// What looks at the end is born here.
    pub(crate) keeper: PathBuf,
    /// The launcher is born here; it is the user's.
    pub(crate) program: PathBuf,
}

/// Where they are made, or why none can be.
pub(crate) fn base() -> Result<&'static Base, String> {
    static BASE: OnceLock<Result<Base, String>> = OnceLock::new();
    BASE.get_or_init(|| {
        if !nix::unistd::geteuid().is_root() {
            return Err("needs root: it gives each run a user and cgroups of its own".to_owned());
        }
        Base::find().map_err(|e| format!("needs a cgroup: {e}"))
    })
    .as_ref()
    .map_err(Clone::clone)
}

impl Ground {
    /// Makes it. `user` may make cgroups below [`Ground::program`].
    pub(crate) fn make(user: Option<u32>, tasks: u64, memory_bytes: u64) -> Result<Self, String> {
        let base = base()?;
        let name = base.child_name().map_err(|e| e.to_string())?;
        let v1 = V1Dirs::of(base.limits(), Path::new(&name));
        if let Some(dirs) = &v1 {
            dirs.make().map_err(|e| e.to_string())?;
        }
        let run = base.cgroup().create(&name).map_err(|e| e.to_string())?;
        let of = |name: &str| run.create(name).map_err(|e| e.to_string());
        let (keeper, program) = (of("keeper")?, of("program")?);
        if let Some(uid) = user {
            program.delegate(uid, uid).map_err(|e| e.to_string())?;
        }
        for limit in [Limit::Tasks(tasks), Limit::MemoryBytes(memory_bytes)] {
            enforce(base.limits(), run.path(), v1.as_ref(), limit).map_err(|e| e.to_string())?;
        }
        let path = |cgroup: &Cgroup| cgroup.path().to_owned();
        Ok(Self {
            keeper: path(&keeper),
            program: path(&program),
            run,
            v1,
        })
    }

    /// The `tasks` of v1 hierarchies in which the limits are.
    pub(crate) fn v1_tasks(&self) -> Vec<PathBuf> {
        let dirs = self.v1.iter().flat_map(V1Dirs::iter);
        dirs.map(|dir| dir.join("tasks")).collect()
    }

    /// Cgroups that are in it besides those that were made here.
    pub(crate) fn further(&self) -> Vec<String> {
        let v1 = self.v1.iter().flat_map(V1Dirs::iter);
        let places = v1.map(PathBuf::as_path).chain([self.program.as_path()]);
        let below = |place: &Path| {
            let entries = fs::read_dir(place).into_iter().flatten().flatten();
            let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            dirs.map(|dir| dir.path().display().to_string())
                .collect::<Vec<_>>()
        };
        places.flat_map(below).collect()
    }

    /// Ends what is left in it, and removes it.
    pub(crate) fn remove(self) -> Result<(), String> {
        let deadline = now() + CLEAN;
        tear_down(self.run, deadline).map_err(|left| left.to_string())?;
        for dir in self.v1.iter().flat_map(V1Dirs::iter) {
            // What the launcher was to remove has been counted before.
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    allgone::cgroup::remove_v1_when_empty(&entry.path(), deadline)
                        .map_err(|e| e.to_string())?;
                }
            }
            allgone::cgroup::remove_v1_when_empty(dir, deadline).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
