//! What stands where in the new root: the most specific path wins, and no mount point is made on
//! the host.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::options::{Closed, Kind, Net, Preset};
use crate::error::RunError;

/// What a path of the new root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The host's, at this path of it.
    Bind {
        /// What is shown.
        source: PathBuf,
        /// Whether it may be written to.
        writable: bool,
        /// Whether it is a device.
        device: bool,
    },
    /// The host's, in memory when it is changed.
    Overlay,
    /// An empty directory of its own, with these permissions.
    Scratch(u32),
    /// A symbolic link.
    Symlink(PathBuf),
}

impl Place {
    /// Whether the host decides what is there, to begin with.
    pub(crate) fn is_hosts(&self) -> bool {
        matches!(self, Self::Bind { .. } | Self::Overlay)
    }
}

/// The places of a new root, those above first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) places: BTreeMap<PathBuf, Place>,
    /// What the program may write and something outside of it may run later, kept read-only.
    pub(crate) protected: Vec<PathBuf>,
}

/// What every program needs, where the host has it.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/nix/store",
    "/gnu/store",
];

/// Devices without a state.
pub(crate) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// What others would run, below a directory that the program may write to: hooks of git, and what
/// shells and editors execute when they enter the directory.
const RUN_LATER: &[&str] = &[
    ".git/hooks",
    ".git/config",
    ".envrc",
    ".husky",
    ".vscode",
    ".idea",
    ".claude",
    ".mcp.json",
];

/// What this process is told of its surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The working directory, if there still is one.
    pub(crate) cwd: Option<PathBuf>,
    /// The home, if it is an absolute path.
    pub(crate) home: Option<PathBuf>,
    /// Where the program may be, in the order of the search.
    pub(crate) programs: Vec<PathBuf>,
}

impl Tree {
    /// Decides, looking at the host's tree. Errors: a path that is not there, or that cannot be a
    /// mount point without being made.
    pub(crate) fn of(closed: &Closed, around: &Surroundings) -> Result<Self, RunError> {
        let mut tree = Self::default();
        if closed.host_root {
            tree.bind(Path::new("/"), false);
        } else {
            SYSTEM.iter().for_each(|path| tree.system(Path::new(path)));
        }
        let scratch: [(&str, u32); 4] = [
            ("/tmp", 0o1777),
            ("/var/tmp", 0o1777),
            ("/run", 0o755),
            ("/dev", 0o755),
        ];
        let scratch = scratch.map(|(path, mode)| (PathBuf::from(path), mode));
        let home = around.home.clone().filter(|home| home.parent().is_some());
        for (path, mode) in scratch.into_iter().chain(home.map(|home| (home, 0o700))) {
            // Under the whole tree of the host only what is there can be hidden.
            if !closed.host_root || path.is_dir() {
                tree.places.insert(path, Place::Scratch(mode));
            }
        }
        for device in DEVICES {
            let path = Path::new("/dev").join(device);
            let source = path.clone();
            let place = Place::Bind {
                source,
                writable: false,
                device: true,
            };
            tree.places.insert(path, place);
        }
        if closed.net != Net::None {
            tree.resolver();
        }
        if let Some(cwd) = around.cwd.as_ref().filter(|_| !closed.no_cwd)
            && tree.may_be_shown(cwd)
        {
            tree.bind(cwd, false);
        }
        let mut asked = BTreeMap::new();
        for (kind, path) in &closed.shown {
            let path = tree.asked(*kind, path)?;
            if asked
                .insert(path.clone(), *kind)
                .is_some_and(|was| was != *kind)
            {
                return Err(RunError::Show {
                    path,
                    why: "it is asked for in two ways".to_owned(),
                });
            }
        }
        tree.program(&around.programs);
        if closed.preset == Preset::Agent {
            tree.protect();
        }
        tree.hold();
        tree.check()?;
        Ok(tree)
    }

    fn bind(&mut self, path: &Path, writable: bool) {
        let place = Place::Bind {
            source: path.to_owned(),
            writable,
            device: false,
        };
        self.places.insert(path.to_owned(), place);
    }

    /// A directory of the system, or the link that stands for it.
    fn system(&mut self, path: &Path) {
        if let Ok(target) = std::fs::read_link(path) {
            self.places.insert(path.to_owned(), Place::Symlink(target));
        } else if path.is_dir() {
            self.bind(path, false);
        }
    }

    /// Where the names of the network's servers are, if that is elsewhere.
    fn resolver(&mut self) {
        if let Ok(path) = Path::new("/etc/resolv.conf").canonicalize()
            && !self.is_bound(&path)
        {
            self.bind(&path, false);
        }
    }

    /// Whether it holds nothing that is to be hidden.
    fn may_be_shown(&self, cwd: &Path) -> bool {
        let hidden = |(path, place): (&PathBuf, &Place)| {
            matches!(place, Place::Scratch(_)) && path.starts_with(cwd)
        };
        let proc = [Path::new("/proc"), Path::new("/sys")];
        !self.is_bound(cwd)
            && !self.places.iter().any(hidden)
            && !proc
                .iter()
                .any(|dir| cwd.starts_with(dir) || dir.starts_with(cwd))
            && !cwd.starts_with("/dev")
    }

    /// Takes in what was asked for, under the path that it really has.
    fn asked(&mut self, kind: Kind, path: &Path) -> Result<PathBuf, RunError> {
        let refused = |why: &str| RunError::Show {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let literal = normal(path).ok_or_else(|| refused("write it without `..`"))?;
        let real = match literal.canonicalize() {
            Ok(real) => real,
            Err(_) if kind == Kind::Scratch => literal.clone(),
            Err(e) => return Err(refused(&e.to_string())),
        };
        if real.starts_with("/proc") {
            return Err(refused("/proc is the sandbox's own"));
        }
        match kind {
            Kind::ReadOnly => self.bind(&real, false),
            Kind::Writable | Kind::Overlay if !real.is_dir() => {
                return Err(refused("it is no directory"));
            }
            Kind::Writable | Kind::Overlay if real.parent().is_none() => {
                return Err(refused("it is the whole tree of the host"));
            }
            Kind::Writable => self.bind(&real, true),
            Kind::Overlay => {
                self.places.insert(real.clone(), Place::Overlay);
            }
            Kind::Scratch => {
                self.places.insert(real.clone(), Place::Scratch(0o700));
            }
        }
        if literal != real
            && self
                .nearest(&literal)
                .is_none_or(|(_, place)| is_scratch(place))
        {
            self.places.insert(literal, Place::Symlink(real.clone()));
        }
        Ok(real)
    }

    /// The first program that there is, if nothing shows it yet.
    fn program(&mut self, candidates: &[PathBuf]) {
        let found = candidates.iter().find_map(|path| {
            let real = path.canonicalize().ok()?;
            real.is_file().then(|| (normal(path), real))
        });
        let Some((literal, real)) = found else {
            return;
        };
        if !self.is_bound(&real) && !real.starts_with("/proc") {
            self.bind(&real, false);
        }
        if let Some(literal) = literal
            && literal != real
            && !self.is_bound(&literal)
            && !self.through_link(&literal)
        {
            self.places.insert(literal, Place::Symlink(real));
        }
    }

    /// Whether a directory above is a link, so that the path is another one's.
    fn through_link(&self, path: &Path) -> bool {
        path.ancestors()
            .any(|dir| matches!(self.places.get(dir), Some(Place::Symlink(_))))
    }

    /// Keeps read-only what others would run.
    fn protect(&mut self) {
        let writable = self.places.iter().filter_map(|(path, place)| match place {
            Place::Bind { writable: true, .. } => Some(path.clone()),
            _ => None,
        });
        for dir in writable.collect::<Vec<_>>() {
            for name in RUN_LATER {
                let path = dir.join(name);
                // A link would lead elsewhere, and that is what would be mounted on.
                let real = path.canonicalize().is_ok_and(|real| real == path);
                if real && !self.places.contains_key(&path) {
                    self.bind(&path, false);
                    self.protected.push(path);
                }
            }
        }
    }

    /// Makes a mount of each directory between one that is writable and what is less so below it: a
    /// mount point cannot be renamed, but a directory above one can, and with it what is below.
    fn hold(&mut self) {
        let mut between = Vec::new();
        for (path, place) in &self.places {
            if matches!(place, Place::Symlink(_)) {
                continue;
            }
            let dirs = path.ancestors().skip(1);
            let dirs: Vec<_> = dirs
                .take_while(|dir| !self.places.contains_key(*dir))
                .collect();
            if let Some((_, Place::Bind { writable: true, .. })) = self.nearest_above(path) {
                between.extend(dirs.into_iter().map(Path::to_owned));
            }
        }
        between.iter().for_each(|dir| self.bind(dir, true));
    }

    /// What has to be there already, is.
    fn check(&self) -> Result<(), RunError> {
        for (path, place) in &self.places {
            let covered = self.nearest_above(path).map(|(_, place)| place);
            let needs_mount = covered.is_some_and(Place::is_hosts);
            let there = match place {
                Place::Bind { .. } | Place::Overlay => true,
                Place::Scratch(_) => path.is_dir(),
                Place::Symlink(_) => true,
            };
            if needs_mount && !there {
                return Err(RunError::Show {
                    path: path.clone(),
                    why: "it does not exist, and no mount point is made on the host".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The directories in which what is written stays, without those that are in another one.
    pub(crate) fn writable(&self) -> impl Iterator<Item = &Path> {
        let writable = |(path, place): (_, &Place)| {
            let writable = matches!(place, Place::Bind { writable: true, .. });
            writable.then_some(path)
        };
        let above = move |path: &Path| self.nearest_above(path).and_then(writable).is_some();
        let all = self
            .places
            .iter()
            .map(|(path, place)| (path.as_path(), place));
        all.filter_map(writable).filter(move |path| !above(path))
    }

    /// Whether anything that is written stays.
    pub(crate) fn is_written(&self) -> bool {
        self.writable().next().is_some()
    }

    /// What is where, in lines.
    pub(crate) fn describe(&self) -> Vec<String> {
        let line = |(path, place): (&PathBuf, &Place)| match place {
            Place::Bind { device: true, .. } => format!("device {path:?}"),
            Place::Bind { writable: true, .. } => format!("writable {path:?}"),
            Place::Bind { .. } if self.protected.contains(path) => {
                format!("read-only {path:?}: something outside may run it later")
            }
            Place::Bind { .. } => format!("read-only {path:?}"),
            Place::Overlay => format!("changes vanish {path:?}"),
            Place::Scratch(_) => format!("private, vanishes {path:?}"),
            Place::Symlink(target) => format!("link {path:?} to {target:?}"),
        };
        self.places.iter().map(line).collect()
    }

    /// The place that a path is in.
    pub(crate) fn nearest(&self, path: &Path) -> Option<(&Path, &Place)> {
        path.ancestors().find_map(|dir| {
            let (path, place) = self.places.get_key_value(dir)?;
            Some((path.as_path(), place))
        })
    }

    /// The place that a path is in, if it were none itself.
    pub(crate) fn nearest_above(&self, path: &Path) -> Option<(&Path, &Place)> {
        self.nearest(path.parent()?)
    }

    /// Whether the host's file is to be seen there.
    pub(crate) fn is_bound(&self, path: &Path) -> bool {
        self.nearest(path)
            .is_some_and(|(_, place)| place.is_hosts())
    }
}

fn is_scratch(place: &Place) -> bool {
    matches!(place, Place::Scratch(_))
}

/// An absolute path without `.`; `None`: it has a `..`, or there is no working directory.
fn normal(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let upwards = path.components().any(|part| part == Component::ParentDir);
    (!upwards).then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(tree: &Tree, path: &Path) -> Option<bool> {
        match tree.nearest(path)?.1 {
            Place::Bind { writable, .. } => Some(*writable),
            _ => None,
        }
    }

    fn made(closed: &Closed, cwd: &Path) -> Result<Tree, RunError> {
        let around = Surroundings {
            cwd: Some(cwd.to_owned()),
            home: Some("/nonexistent/home".into()),
            programs: vec!["/usr/bin/env".into()],
        };
        Tree::of(closed, &around)
    }

    #[test]
    fn the_most_specific_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("a/b/c")).unwrap();
        std::fs::create_dir_all(dir.join(".git/hooks")).unwrap();
        let shown = vec![
            (Kind::ReadOnly, dir.join("a/b")),
            (Kind::Writable, dir.clone()),
            (Kind::Writable, dir.join("a/b/c")),
        ];
        let closed = Closed {
            shown,
            ..Closed::default()
        };
        let tree = made(&closed, &dir).unwrap();
        assert_eq!(bound(&tree, &dir.join("x")), Some(true));
        assert_eq!(bound(&tree, &dir.join("a/b/x")), Some(false));
        assert_eq!(bound(&tree, &dir.join("a/b/c/x")), Some(true));
        assert_eq!(tree.protected, [dir.join(".git/hooks")]);
        // What lies between is a mount point too, so that it stays where it is.
        assert!(tree.places.contains_key(&dir.join("a")));
        assert!(tree.places.contains_key(&dir.join(".git")));
        assert_eq!(bound(&tree, Path::new("/usr/bin/env")), Some(false));
        assert_eq!(bound(&tree, Path::new("/root/.ssh")), None);
    }

    #[test]
    fn a_directory_that_holds_what_is_hidden_is_not_shown() {
        for dir in [
            "/",
            "/nonexistent",
            "/nonexistent/home",
            "/tmp",
            "/var",
            "/run",
        ] {
            let tree = made(&Closed::default(), Path::new(dir)).unwrap();
            assert_eq!(bound(&tree, Path::new(dir)), None, "{dir}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        let refused = |kind, path: &str| {
            let shown = vec![(kind, PathBuf::from(path))];
            let closed = Closed {
                shown,
                ..Closed::default()
            };
            made(&closed, Path::new("/")).err().map(|e| e.to_string())
        };
        assert!(refused(Kind::ReadOnly, "/nonexistent/x").is_some());
        assert!(refused(Kind::Writable, "/etc/passwd").is_some());
        assert!(refused(Kind::Writable, "/").is_some());
        assert!(refused(Kind::Writable, "/usr/../tmp").is_some());
        assert!(refused(Kind::Scratch, "/usr/nonexistent").is_some());
        assert_eq!(refused(Kind::Scratch, "/nonexistent/x"), None);
        assert_eq!(refused(Kind::Scratch, "/usr/lib"), None);
    }
}
