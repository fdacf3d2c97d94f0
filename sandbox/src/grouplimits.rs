//! Limits on the whole tree: `--pids`, `--memory`, `--cpu`. In the program's own cgroup where that
//! has the controller, else in cgroups of the same name in v1 hierarchies, which main enters.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use allgone::layout::Layout;
use allgone::limits::{CpuQuota, Interface, Limit};
use allgone::sys::spawn::launch::{File, Memory, Need, Setup, remove_cgroup};
use allgone::sys::time::now;
use nix::errno::Errno;
use nix::poll::poll;
use nix::unistd::{AccessFlags, access};

use crate::error::RunError;
use crate::options::Options;
use crate::place::{self, Place, open_dir};

/// The period in which `--cpu` is counted: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// One limit that is asked for, and where it is set.
#[derive(Debug)]
struct Set {
    option: &'static str,
    /// The file that says whether it is in force, relative to the directory above the group.
    file: CString,
    /// The directory above the group: an index into `hierarchies`, or the program's own cgroup.
    hierarchy: Option<usize>,
    /// What is written to which files.
    writes: Vec<(CString, CString)>,
    /// What undoes it, if it makes dying slow.
    lift: Option<(CString, CString)>,
}

/// A v1 hierarchy in which there is a limit.
#[derive(Debug)]
struct Hierarchy {
    parent: OwnedFd,
    parent_path: PathBuf,
    tasks: CString,
}

/// All of them.
#[derive(Debug, Default)]
pub struct GroupLimits {
    name: CString,
    need: Option<Need>,
    set: Vec<Set>,
    hierarchies: Vec<Hierarchy>,
    /// The file that counts kills for want of memory, and the one with the most that was in use.
    memory_files: [CString; 2],
    /// Asked for, and not to be had here, with the reason. Only after `--best-effort`.
    pub missing: Vec<(&'static str, String)>,
}

/// What is asked for.
fn wanted(options: &Options) -> Vec<(&'static str, &'static str, Limit)> {
    let cpu = |thousandths: u64| {
        Limit::CpuQuota(CpuQuota {
            quota_us: thousandths * PERIOD_US / 1_000,
            period_us: PERIOD_US,
        })
    };
    let all = [
        ("pids", "pids", options.pids.map(Limit::Tasks)),
        ("memory", "memory", options.memory.map(Limit::MemoryBytes)),
        ("cpu", "cpu", options.cpu_thousandths.map(cpu)),
    ];
    let asked = all.into_iter();
    asked
        .filter_map(|(option, controller, limit)| Some((option, controller, limit?)))
        .collect()
}

impl GroupLimits {
    /// Finds a place for each. Errors: there is none for one of them, unless that is allowed.
    pub(crate) fn of(
        options: &Options,
        layout: &Result<Layout, String>,
        place: &Result<Place, String>,
        name: &CStr,
    ) -> Result<Self, RunError> {
        let need = if options.best_effort {
            Need::Optional
        } else {
            Need::Required
        };
        let mut limits = Self {
            name: name.to_owned(),
            need: Some(need),
            ..Self::default()
        };
        for (option, controller, limit) in wanted(options) {
            match limits.add(option, controller, limit, layout, place) {
                Ok(()) => {}
                Err(why) if options.best_effort => limits.missing.push((option, why)),
                Err(why) => return Err(RunError::Limit { option, why }),
            }
        }
        Ok(limits)
    }

    /// None can be had, for this reason.
    pub(crate) fn none(options: &Options, why: &str) -> Result<Self, RunError> {
        let mut limits = Self::default();
        for (option, ..) in wanted(options) {
            let why = why.to_owned();
            if !options.best_effort {
                return Err(RunError::Limit { option, why });
            }
            limits.missing.push((option, why));
        }
        Ok(limits)
    }

    fn add(
        &mut self,
        option: &'static str,
        controller: &'static str,
        limit: Limit,
        layout: &Result<Layout, String>,
        place: &Result<Place, String>,
    ) -> Result<(), String> {
        let v2 = match place {
            Ok(place) if enabled(&place.parent_path, controller) => Ok(()),
            Ok(place) => Err(format!(
                "{controller} is not in {}/cgroup.subtree_control",
                place.parent_path.display()
            )),
            Err(why) => Err(why.clone()),
        };
        let (interface, hierarchy) = match v2 {
            Ok(()) => (Interface::V2, None),
            Err(why) => {
                let v1 = self.v1(controller, layout);
                let index = v1.map_err(|also| format!("{why}; {also}"))?;
                (Interface::V1, Some(index))
            }
        };
        let in_group = |file: &str| text([self.name.to_bytes(), b"/", file.as_bytes()].concat());
        let writes = limit.writes(interface).into_iter();
        let writes: Result<Vec<_>, String> = writes
            .map(|(file, value)| Ok((in_group(file)?, text(value)?)))
            .collect();
        let writes = writes?;
        let lift = match (limit, interface) {
            (Limit::CpuQuota(_), Interface::V2) => Some((in_group("cpu.max")?, text("max")?)),
            (Limit::CpuQuota(_), Interface::V1) => {
                Some((in_group("cpu.cfs_quota_us")?, text("-1")?))
            }
            _ => None,
        };
        if option == "memory" {
            let [events, peak] = match interface {
                Interface::V1 => ["memory.oom_control", "memory.max_usage_in_bytes"],
                Interface::V2 => ["memory.events", "memory.peak"],
            };
            self.memory_files = [in_group(events)?, in_group(peak)?];
        }
        let file = writes.last().map(|(file, _)| file.clone());
        self.set.push(Set {
            option,
            file: file.unwrap_or_default(),
            hierarchy,
            writes,
            lift,
        });
        Ok(())
    }

    /// The hierarchy of a v1 controller, in which a cgroup may be made.
    fn v1(
        &mut self,
        controller: &'static str,
        layout: &Result<Layout, String>,
    ) -> Result<usize, String> {
        let layout = layout.as_ref().map_err(Clone::clone)?;
        let dir = layout.own_v1(controller).map_err(|e| e.to_string())?;
        let known = |known: &Hierarchy| known.parent_path == dir.path;
        if let Some(index) = self.hierarchies.iter().position(known) {
            return Ok(index);
        }
        access(&dir.path, AccessFlags::W_OK)
            .map_err(|e| format!("no cgroup may be made in {}: {e}", dir.path.display()))?;
        self.hierarchies.push(Hierarchy {
            parent: open_dir(&dir.path)?,
            tasks: text([self.name.to_bytes(), b"/tasks"].concat())?,
            parent_path: dir.path,
        });
        Ok(self.hierarchies.len() - 1)
    }

    /// What init does once the program's cgroup is there.
    pub(crate) fn before<'a>(&'a self, place: &'a Result<Place, String>) -> Vec<(Setup<'a>, Need)> {
        let need = self.need.unwrap_or(Need::Required);
        let make = self.hierarchies.iter().map(|hierarchy| Setup::MakeDir {
            parent: hierarchy.parent.as_fd(),
            name: &self.name,
        });
        let write = self.set.iter().flat_map(|set| {
            let dir = self.above(set, place);
            let files = set.writes.iter();
            files.filter_map(move |(path, text)| {
                Some(Setup::WriteIn(File {
                    dir: dir?,
                    path,
                    text,
                }))
            })
        });
        make.chain(write).map(|step| (step, need)).collect()
    }

    /// What main does first: it enters them.
    pub(crate) fn after(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        let need = self.need.unwrap_or(Need::Required);
        self.hierarchies.iter().map(move |hierarchy| {
            let enter = File {
                dir: hierarchy.parent.as_fd(),
                path: &hierarchy.tasks,
                text: c"0",
            };
            (Setup::WriteIn(enter), need)
        })
    }

    /// Writes that let what is about to be killed die without waiting for its quota.
    pub(crate) fn lifts<'a>(&'a self, place: &'a Result<Place, String>) -> Vec<File<'a>> {
        let lifts = self.set.iter().filter_map(|set| {
            let (path, text) = set.lift.as_ref()?;
            let dir = self.above(set, place)?;
            Some(File { dir, path, text })
        });
        lifts.collect()
    }

    /// Further cgroups of the run, each by the directory above and its name.
    pub(crate) fn groups(&self) -> Vec<(std::os::fd::BorrowedFd<'_>, &CStr)> {
        let groups = self.hierarchies.iter();
        groups
            .map(|hierarchy| (hierarchy.parent.as_fd(), self.name.as_c_str()))
            .collect()
    }

    /// Removes those in v1 hierarchies, with what the program has made in them. Errors: one still
    /// has members a second after all of it has ended.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let deadline = now() + Duration::from_secs(1);
        for (hierarchy, (parent, name)) in self.hierarchies.iter().zip(self.groups()) {
            loop {
                match remove_cgroup(parent, name) {
                    Ok(()) => break,
                    // A process may leave its cgroup a moment after it was reaped, and
                    // nothing tells of that.
                    Err(Errno::EBUSY) if !deadline.has_passed() => match poll(&mut [], 2u8) {
                        Ok(_) | Err(_) => {}
                    },
                    Err(e) => {
                        let path = hierarchy.parent_path.display();
                        return Err(format!("could not remove {name:?} in {path}: {e}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes what other launchers have left in the same hierarchies.
    pub(crate) fn sweep(&self) {
        for hierarchy in &self.hierarchies {
            place::sweep(hierarchy.parent.as_fd(), &hierarchy.parent_path);
        }
    }

    /// What the cgroup that limits memory says about it.
    pub(crate) fn memory<'a>(&'a self, place: &'a Result<Place, String>) -> Option<Memory<'a>> {
        let set = self.set.iter().find(|set| set.option == "memory")?;
        let [events, peak] = &self.memory_files;
        Some(Memory {
            dir: self.above(set, place)?,
            events,
            peak,
        })
    }

    /// Each one that has been set: its option, and the file that shows it.
    pub(crate) fn enforced(&self) -> impl Iterator<Item = (&'static str, &CStr)> {
        self.set.iter().map(|set| (set.option, set.file.as_c_str()))
    }

    fn above<'a>(
        &'a self,
        set: &Set,
        place: &'a Result<Place, String>,
    ) -> Option<std::os::fd::BorrowedFd<'a>> {
        match set.hierarchy {
            Some(index) => self.hierarchies.get(index).map(|one| one.parent.as_fd()),
            None => place.as_ref().ok().map(|place| place.parent.as_fd()),
        }
    }
}

/// Whether a v2 controller is enabled for the children of a cgroup.
fn enabled(parent: &Path, controller: &str) -> bool {
    std::fs::read_to_string(parent.join("cgroup.subtree_control"))
        .is_ok_and(|text| text.split_whitespace().any(|word| word == controller))
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, String> {
    CString::new(bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_enforces_is_refused_or_said() {
        let no = || Err("nothing here".to_owned());
        let mut options = Options {
            pids: Some(5),
            cpu_thousandths: Some(1_500),
            ..Options::default()
        };
        let refused = GroupLimits::of(&options, &no(), &Err("nothing there".to_owned()), c"x");
        let told = refused.unwrap_err().to_string();
        assert!(
            told.contains("--pids") && told.contains("nothing here"),
            "{told}"
        );
        assert!(told.contains("nothing there"), "{told}");
        options.best_effort = true;
        let limits = GroupLimits::of(&options, &no(), &Err(String::new()), c"x").unwrap();
        let missing: Vec<_> = limits.missing.iter().map(|(option, _)| *option).collect();
        assert_eq!(missing, ["pids", "cpu"]);
        assert_eq!(limits.enforced().count(), 0);
    }

    #[test]
    fn the_own_cgroup_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.subtree_control"), "cpu pids\n").unwrap();
        let place = Ok(Place {
            parent: open_dir(dir.path()).unwrap(),
            parent_path: dir.path().to_owned(),
            name: c"x".to_owned(),
        });
        let options = Options {
            pids: Some(5),
            cpu_thousandths: Some(1_500),
            ..Options::default()
        };
        let limits = GroupLimits::of(&options, &Err(String::new()), &place, c"x").unwrap();
        let steps = limits.before(&place);
        let lines: Vec<_> = steps.iter().map(|(step, _)| step.to_string()).collect();
        assert_eq!(
            lines,
            [
                "write(parent/\"x/pids.max\", \"5\")",
                "write(parent/\"x/cpu.max\", \"150000 100000\")"
            ]
        );
        assert_eq!(limits.lifts(&place).len(), 1);
        assert_eq!(limits.after().count(), 0);
    }
}
