//! `--include PATH=DEST`: a copy of a file or directory of the host in a private place, for the
//! program to change as it likes.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::RunError;

/// How many files and directories one run copies in: each file is open until it is copied.
const MOST: usize = 256;

/// What is copied in, those above first.
#[derive(Debug)]
pub(crate) enum Copied {
    Dir(PathBuf),
    File(PathBuf, File, u32),
    Link(PathBuf, PathBuf),
}

/// Opens all that is to be copied, with this process's rights. Errors: a path that is not there,
/// too many files, one that is neither file, directory nor link.
pub(crate) fn of(asked: &[(PathBuf, PathBuf)]) -> Result<Vec<Copied>, RunError> {
    let mut found = Vec::new();
    for (source, dest) in asked {
        let refused = |why: String| RunError::Include {
            path: source.clone(),
            why,
        };
        // The path itself may be a link; what is below is taken as it is.
        let source = source.canonicalize().map_err(|e| refused(e.to_string()))?;
        let mut open = vec![(source, dest.clone())];
        while let Some((source, dest)) = open.pop() {
            if found.len() == MOST {
                return Err(refused(format!(
                    "more than {MOST} files: show it with --ro"
                )));
            }
            let told = |e: std::io::Error| refused(format!("{source:?}: {e}"));
            let kind = std::fs::symlink_metadata(&source).map_err(told)?;
            if kind.is_symlink() {
                let target = std::fs::read_link(&source).map_err(told)?;
                found.push(Copied::Link(dest, target));
            } else if kind.is_dir() {
                let entries = std::fs::read_dir(&source).map_err(told)?;
                for entry in entries {
                    let entry = entry.map_err(told)?;
                    open.push((entry.path(), dest.join(entry.file_name())));
                }
                found.push(Copied::Dir(dest));
            } else if kind.is_file() {
                let file = open_file(&source).map_err(told)?;
                let mode = file.metadata().map_err(told)?.mode() & 0o777;
                found.push(Copied::File(dest, file, mode));
            } else {
                return Err(refused(format!(
                    "{source:?} is neither a file nor a directory"
                )));
            }
        }
    }
    Ok(found)
}

fn open_file(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().read(true).custom_flags(flags).open(path)
}
