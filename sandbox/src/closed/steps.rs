//! From the places of the new root to the steps that make it.
//!
//! A file system in memory is mounted over /proc, in the sandbox's mount namespace, and filled from
//! there with the host's tree still in sight: nothing is ever shown of /proc, so nothing that is to
//! be shown is covered. Where something of the host lies over it, private directories are mounted
//! from `.scratch` of the same file system, so that one limit holds for all.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use allgone::sys::spawn::launch::{NO_DEV, NO_EXEC, NO_SUID, Need, READ_ONLY};
use nix::libc;

use super::idmap::Owners;
use super::include::Copied;
use super::owned::{Owned, Step, text};
use super::tree::{Place, Tree};
use crate::error::RunError;

/// What the steps are made for.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    tree: &'a Tree,
    /// The program's user, if it is another one than init's.
    user: Option<(u32, u32)>,
    owners: Owners,
    steps: Vec<Step>,
    made: HashSet<PathBuf>,
    /// Private directories that lie over something of the host, with where they really are.
    scratch: BTreeMap<PathBuf, PathBuf>,
    /// Where the root is in the file system in memory, if it is not that.
    prefix: &'static str,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(tree: &'a Tree, user: Option<(u32, u32)>) -> Self {
        let whole = tree.places.contains_key(Path::new("/"));
        Self {
            tree,
            user,
            owners: Owners::new(user),
            steps: Vec::new(),
            made: HashSet::new(),
            scratch: BTreeMap::new(),
            prefix: if whole { ".root" } else { "." },
        }
    }

    /// Those that make and fill it. `space`: how large it may become, in bytes. `proc`: whether it
    /// goes without. `context`: of all that is in it.
    pub(crate) fn fill(
        &mut self,
        space: u64,
        proc: Need,
        context: Option<&str>,
    ) -> Result<(), RunError> {
        let alone = libc::MS_REC | libc::MS_PRIVATE;
        self.mount(c"none", c"/", None, alone, None);
        let inodes = (space / 4096).max(64);
        // A level has commas in it.
        let context = context.map_or(String::new(), |it| format!(",context=\"{it}\""));
        let options = text(format!(
            "mode=0755,size={space},nr_inodes={inodes}{context}"
        ))?;
        let protect = libc::MS_NOSUID | libc::MS_NODEV;
        self.mount(c"tmpfs", c"/proc", Some(c"tmpfs"), protect, Some(options));
        self.push(Owned::Enter(c"/proc".to_owned()));
        let tree = self.tree;
        for (path, place) in &tree.places {
            match place {
                Place::Bind {
                    source,
                    writable,
                    device,
                } => self.bind(path, source, *writable, *device)?,
                Place::Overlay => self.overlay(path)?,
                Place::Scratch(mode) => self.private(path, *mode)?,
                Place::Symlink(target) if !self.is_covered(path) => {
                    self.parents(path)?;
                    let (target, path) = (text(target.as_os_str().as_bytes())?, self.inside(path)?);
                    self.push(Owned::Symlink { target, path });
                }
                Place::Symlink(_) => {}
            }
        }
        self.devices()?;
        let at = Path::new("/proc");
        self.dir(at, 0o555, None)?;
        let target = self.inside(at)?;
        let flags = protect | libc::MS_NOEXEC;
        let mount = Owned::Mount {
            source: c"proc",
            target,
            kind: Some(c"proc"),
            flags,
            options: None,
        };
        self.steps.push((mount, proc));
        Ok(())
    }

    /// All of them but the last, which make it the root.
    pub(crate) fn steps(self) -> Vec<Step> {
        self.steps
    }

    /// The last.
    pub(crate) fn root(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.prefix != "." {
            steps.push((Owned::Enter(c".root".to_owned()), Need::Required));
        }
        steps.push((Owned::Root, Need::Required));
        steps
    }

    /// Copies in what is to be there. Errors: not in a private place.
    pub(crate) fn include(&mut self, copied: Vec<Copied>) -> Result<(), RunError> {
        for copied in copied {
            let (Copied::Dir(path) | Copied::File(path, ..) | Copied::Link(path, _)) = &copied;
            let path = path.clone();
            if self.location(&path).is_none() || self.tree.places.contains_key(&path) {
                let why = "it has to be below one of the program's private places".to_owned();
                return Err(RunError::Include { path, why });
            }
            let owner = self.user;
            match copied {
                Copied::Dir(_) => self.dir(&path, 0o755, owner)?,
                Copied::File(_, file, mode) => {
                    self.parents(&path)?;
                    let path = self.inside(&path)?;
                    self.push(Owned::Copy {
                        file,
                        path,
                        mode,
                        owner,
                    });
                }
                Copied::Link(_, target) => {
                    self.parents(&path)?;
                    let target = text(target.as_os_str().as_bytes())?;
                    let path = self.inside(&path)?;
                    self.push(Owned::Symlink { target, path });
                }
            }
        }
        Ok(())
    }

    /// Where a path is in the file system in memory; `None`: it is not there.
    pub(crate) fn location(&self, path: &Path) -> Option<PathBuf> {
        let below = |path: &Path| path.strip_prefix("/").map(Path::to_owned).ok();
        match self.tree.nearest(path) {
            None => below(path),
            Some((at, Place::Scratch(_))) => {
                let rest = path.strip_prefix(at).ok()?;
                let dir = match self.scratch.get(at) {
                    Some(dir) => dir.clone(),
                    None if self.tree.nearest_above(at).is_none() => below(at)?,
                    None => self.location(at.parent()?)?.join(at.file_name()?),
                };
                Some(dir.join(rest))
            }
            Some(_) => None,
        }
    }

    fn push(&mut self, step: Owned) {
        self.steps.push((step, Need::Required));
    }

    fn mount(
        &mut self,
        source: &'static CStr,
        target: &CStr,
        kind: Option<&'static CStr>,
        flags: libc::c_ulong,
        options: Option<CString>,
    ) {
        self.push(Owned::Mount {
            source,
            target: target.to_owned(),
            kind,
            flags,
            options,
        });
    }

    /// Where a path of the new root is while it is being filled.
    fn inside(&self, path: &Path) -> Result<CString, RunError> {
        let below = path.strip_prefix("/").unwrap_or(path);
        text(Path::new(self.prefix).join(below).as_os_str().as_bytes())
    }

    /// Whether the host decides what is there.
    fn is_covered(&self, path: &Path) -> bool {
        let above = self.tree.nearest_above(path);
        above.is_some_and(|(_, place)| place.is_hosts())
    }

    /// The program's user, if the path is in a directory of that.
    fn owner(&self, path: &Path) -> Option<(u32, u32)> {
        let (_, place) = self.tree.nearest(path)?;
        matches!(place, Place::Scratch(0o700)).then_some(self.user)?
    }

    /// Makes a directory that nothing of the host covers, and those above it.
    fn dir(&mut self, path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<(), RunError> {
        if self.is_covered(path) || path.parent().is_none() || !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        self.parents(path)?;
        let path = self.inside(path)?;
        self.push(Owned::Dir { path, mode, owner });
        Ok(())
    }

    fn parents(&mut self, path: &Path) -> Result<(), RunError> {
        let Some(above) = path.parent() else {
            return Ok(());
        };
        if self.tree.places.contains_key(above) {
            return Ok(());
        }
        let owner = self.owner(above);
        self.dir(above, 0o755, owner)
    }

    fn bind(
        &mut self,
        path: &Path,
        source: &Path,
        writable: bool,
        device: bool,
    ) -> Result<(), RunError> {
        let refused = |e: std::io::Error| RunError::Show {
            path: path.to_owned(),
            why: e.to_string(),
        };
        let facts = std::fs::metadata(source).map_err(refused)?;
        if path.parent().is_none() {
            self.push(Owned::Dir {
                path: text(self.prefix)?,
                mode: 0o755,
                owner: None,
            });
        } else if !self.is_covered(path) {
            if facts.is_dir() {
                let owner = self.owner(path);
                self.dir(path, 0o755, owner)?;
            } else {
                self.parents(path)?;
                let file = self.inside(path)?;
                self.push(Owned::File(file));
            }
        }
        let owners = if writable {
            let above = self.outermost(path);
            let facts = std::fs::metadata(above).map_err(refused)?;
            self.owners.of(above, facts.uid(), facts.gid())?
        } else {
            None
        };
        let read_only = if writable { 0 } else { READ_ONLY };
        let what = if device { NO_EXEC } else { NO_DEV };
        let (source, target) = (text(source.as_os_str().as_bytes())?, self.inside(path)?);
        self.push(Owned::Bind {
            source,
            target,
            attributes: read_only | NO_SUID | what,
            owners,
        });
        Ok(())
    }

    /// The uppermost of the writable directories that `path` is in: one owner for all of them.
    fn outermost<'p>(&self, path: &'p Path) -> &'p Path {
        let writable = |dir: &&Path| {
            matches!(
                self.tree.places.get(*dir),
                Some(Place::Bind { writable: true, .. })
            )
        };
        path.ancestors().filter(writable).last().unwrap_or(path)
    }

    /// An empty directory.
    fn private(&mut self, path: &Path, mode: u32) -> Result<(), RunError> {
        let shared = mode & 0o1000 != 0 || path == Path::new("/dev");
        let owner = if shared { None } else { self.user };
        if !self.is_covered(path) {
            return self.dir(path, mode, owner);
        }
        let source = self.aside(path, mode, owner)?;
        let target = self.inside(path)?;
        self.push(Owned::Bind {
            source,
            target,
            attributes: NO_SUID | NO_DEV,
            owners: None,
        });
        Ok(())
    }

    /// A private directory that is not where it is seen. Returns where it is.
    fn aside(
        &mut self,
        path: &Path,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<CString, RunError> {
        if self.scratch.is_empty() {
            self.push(Owned::Dir {
                path: c".scratch".to_owned(),
                mode: 0o711,
                owner: None,
            });
        }
        let at = format!(".scratch/{}", self.scratch.len());
        self.scratch.insert(path.to_owned(), PathBuf::from(&at));
        let path = text(at)?;
        self.push(Owned::Dir {
            path: path.clone(),
            mode,
            owner,
        });
        Ok(path)
    }

    /// The host's directory, below a layer in memory. As root it is seen with the program's user as
    /// its owner, whoever that is: nothing is written to it.
    fn overlay(&mut self, path: &Path) -> Result<(), RunError> {
        if !self.is_covered(path) {
            let owner = self.owner(path);
            self.dir(path, 0o755, owner)?;
        }
        let facts = std::fs::metadata(path).map_err(|e| RunError::Show {
            path: path.to_owned(),
            why: e.to_string(),
        })?;
        let aside = self.aside(path, 0o711, None)?;
        let aside = aside.to_string_lossy();
        for (name, owner) in [("lower", None), ("upper", self.user), ("work", None)] {
            self.push(Owned::Dir {
                path: text(format!("{aside}/{name}"))?,
                mode: facts.mode() & 0o777,
                owner,
            });
        }
        let owners = self.owners.seen_of(facts.uid(), facts.gid())?;
        self.push(Owned::Bind {
            source: text(path.as_os_str().as_bytes())?,
            target: text(format!("{aside}/lower"))?,
            attributes: READ_ONLY | NO_SUID | NO_DEV,
            owners,
        });
        // An ordinary user's user namespace may set no other attributes (Linux 5.11).
        let attributes = if self.user.is_none() {
            ",userxattr"
        } else {
            ""
        };
        let options = format!(
            "lowerdir={aside}/lower,upperdir={aside}/upper,workdir={aside}/work{attributes}"
        );
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        let target = self.inside(path)?;
        self.mount(
            c"overlay",
            &target,
            Some(c"overlay"),
            flags,
            Some(text(options)?),
        );
        Ok(())
    }

    /// Pseudo-terminals, shared memory, and the links that programs expect.
    fn devices(&mut self) -> Result<(), RunError> {
        let dev = Path::new("/dev");
        if !self.tree.places.contains_key(dev) {
            return Ok(());
        }
        self.dir(&dev.join("shm"), 0o1777, None)?;
        let pts = dev.join("pts");
        self.dir(&pts, 0o755, None)?;
        let target = self.inside(&pts)?;
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        let options = text("newinstance,ptmxmode=0666,mode=0620")?;
        self.mount(c"devpts", &target, Some(c"devpts"), flags, Some(options));
        for (name, target) in [
            ("ptmx", c"pts/ptmx"),
            ("fd", c"/proc/self/fd"),
            ("stdin", c"/proc/self/fd/0"),
            ("stdout", c"/proc/self/fd/1"),
            ("stderr", c"/proc/self/fd/2"),
        ] {
            let path = self.inside(&dev.join(name))?;
            let target = target.to_owned();
            self.push(Owned::Symlink { target, path });
        }
        Ok(())
    }
}
