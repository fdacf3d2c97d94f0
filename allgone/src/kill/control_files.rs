//! The files with which a cgroup is killed as a whole, opened while the cgroup is empty.
//! [`ControlFile`] says why that matters.

use std::sync::Arc;

use crate::cgroup::{Cgroup, CgroupError, ControlFile, EventsFile};
use crate::param::{Axis, Unit};
use crate::set::ProcessSet;

/// What opening late costs can be measured.
pub const OPEN_LATE: Axis = Axis {
    name: "open-late",
    unit: Unit::Count,
    default: 0,
    kill_default: None,
    doc: "0: the files that the kill writes to are opened before the workload starts; 1: when it \
        kills",
};

/// `cgroup.kill`, `cgroup.freeze` and `cgroup.events` of one cgroup.
#[derive(Debug)]
pub struct ControlFiles {
    cgroup: Arc<Cgroup>,
    /// None: opened anew for each write.
    open: Option<Open>,
    events: EventsFile,
}

/// One that is missing (`cgroup.kill` before Linux 5.14, `cgroup.freeze` before 5.2) or refused is
/// an error only of its use.
#[derive(Debug)]
struct Open {
    kill: Result<ControlFile, CgroupError>,
    freeze: Result<ControlFile, CgroupError>,
}

impl ControlFiles {
    /// Opens those of a set, unless they are to be opened late.
    pub fn of(set: &ProcessSet) -> Result<Self, CgroupError> {
        Self::open(set.cgroup().clone(), set.param(&OPEN_LATE) == 1)
    }

    fn open(cgroup: Arc<Cgroup>, late: bool) -> Result<Self, CgroupError> {
        let open = (!late).then(|| Open {
            kill: cgroup.control("cgroup.kill"),
            freeze: cgroup.control("cgroup.freeze"),
        });
        let events = cgroup.events_file()?;
        Ok(Self {
            cgroup,
            open,
            events,
        })
    }

    /// Writes `1` to `cgroup.kill`.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match &self.open {
            Some(open) => open.kill.as_ref().map_err(CgroupError::clone)?.write("1"),
            None => self.cgroup.kill(),
        }
    }

    /// Writes `cgroup.freeze`: a request.
    pub fn freeze(&self, on: bool) -> Result<(), CgroupError> {
        let value = if on { "1" } else { "0" };
        match &self.open {
            Some(open) => open
                .freeze
                .as_ref()
                .map_err(CgroupError::clone)?
                .write(value),
            None => self.cgroup.freeze(on),
        }
    }

    /// `cgroup.events`.
    pub fn events(&self) -> &EventsFile {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn nothing_is_looked_up_once_they_are_open() {
        let dir = tempfile::tempdir().unwrap();
        let files =
            ["cgroup.kill", "cgroup.freeze", "cgroup.events"].map(|name| dir.path().join(name));
        for file in &files {
            fs::write(file, "").unwrap();
        }
        fs::write(&files[2], "populated 1\nfrozen 0\n").unwrap();
        let cgroup = Arc::new(Cgroup::open(dir.path()).unwrap());
        let files_ = ControlFiles::open(cgroup.clone(), false).unwrap();
        let seen = files.map(|file| {
            let reader = fs::File::open(&file).unwrap();
            fs::remove_file(&file).unwrap();
            reader
        });
        files_.kill().unwrap();
        files_.freeze(true).unwrap();
        files_.freeze(false).unwrap();
        assert!(files_.events().read().unwrap().populated);
        assert_eq!(std::io::read_to_string(&seen[0]).unwrap(), "1");
        assert_eq!(std::io::read_to_string(&seen[1]).unwrap(), "10");
        // The late way exists only to be measured, and looks the files up.
        fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let late = ControlFiles::open(cgroup, true).unwrap();
        assert_eq!(late.kill().unwrap_err().errno(), Some(Errno::ENOENT));
        assert_eq!(late.freeze(true).unwrap_err().errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn one_that_is_missing_is_an_error_of_its_use() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let cgroup = Arc::new(Cgroup::open(dir.path()).unwrap());
        let files_ = ControlFiles::open(cgroup.clone(), false).unwrap();
        assert_eq!(files_.kill().unwrap_err().errno(), Some(Errno::ENOENT));
        assert_eq!(
            files_.freeze(true).unwrap_err().errno(),
            Some(Errno::ENOENT)
        );
    }
}
