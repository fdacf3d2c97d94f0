//! Closed runs: what the program sees, what it may do, and the ways out that are known.

mod ends;
mod explain;
mod fallback;
mod files;
mod host;
mod internet;
mod keep;
mod locks;
mod net;
mod public;
mod registries;
mod selinux;
mod writable;

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Whose, allgone, code, errors};

/// A shell script in a closed run, as `whose`, with `options`.
fn closed(whose: Whose, options: &[&str], script: &str) -> Output {
    let fixed = ["--closed", "--env", "ALLGONE_MARK", "-t", "60s"];
    let rest = ["--", "sh", "-c", script];
    allgone(whose, &[&fixed, options, &rest].concat()).output()
}

/// What it printed, if it ended well.
fn printed(output: &Output) -> String {
    assert_eq!(code(output), 0, "{}", errors(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A directory outside of /tmp's private one that every user may read, by its real path.
#[derive(Debug)]
struct Shared(tempfile::TempDir);

impl Shared {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// A file of every user's to read.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes it all the ordinary user's, or another one's, where that can be done.
    fn give(&self, uid: u32, gid: u32) {
        fn each(dir: &Path, uid: u32, gid: u32) {
            std::os::unix::fs::lchown(dir, Some(uid), Some(gid)).unwrap();
            if dir.is_dir() && !dir.is_symlink() {
                for entry in std::fs::read_dir(dir).unwrap() {
                    each(&entry.unwrap().path(), uid, gid);
                }
            }
        }
        if nix::unistd::geteuid().is_root() {
            each(&self.path(), uid, gid);
        }
    }

    /// Gives it to somebody for whom the launcher of `whose` may let it be written to.
    fn give_for(&self, whose: Whose) {
        match whose {
            Whose::Own => self.give(1234, 1235),
            Whose::Ordinary => self.give(65_534, 65_534),
        }
    }
}
