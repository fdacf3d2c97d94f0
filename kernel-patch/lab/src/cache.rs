//! Where sources, builds and images live: one directory outside version control.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use sha2::{Digest, Sha256};

/// The cache directory and what is where in it.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens `given`, else `$XDG_CACHE_HOME/lab`, else `~/.cache/lab`; makes it if it is not there.
    ///
    /// # Errors
    /// When no place is known or it cannot be made.
    pub fn open(given: Option<&Path>) -> Result<Self> {
        let root = match given {
            Some(path) => path.to_path_buf(),
            None => std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
                .context("neither XDG_CACHE_HOME nor HOME is set: give the place with --cache DIR")?
                .join("lab"),
        };
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot make the cache directory {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory below it, made when missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Takes the lock called `name`, waiting until it is free; released when the value is dropped.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self, name: &str) -> Result<Flock<fs::File>> {
        let path = self.dir("locks")?.join(name);
        let file = fs::File::create(&path)
            .with_context(|| format!("cannot make the lock {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .with_context(|| format!("cannot lock {}", path.display()))
    }

    /// Fails unless `bytes` are free where the cache is, before a long operation begins.
    ///
    /// # Errors
    /// When there is less room, or when the file system does not say.
    pub fn need_bytes(&self, bytes: u64, what: &str) -> Result<()> {
        let stat = statvfs(&self.root)
            .with_context(|| format!("cannot ask how full {} is", self.root.display()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < bytes {
            bail!(
                "the disk is too full: {what} takes about {} MiB and {} has {} MiB free; free \
                    some, or choose another place with --cache DIR",
                bytes >> 20,
                self.root.display(),
                free >> 20
            );
        }
        Ok(())
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file =
        fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&hash.finalize()))
}

/// The SHA-256 of parts in a row, each with its length, so that no two lists of parts collide.
#[must_use]
pub fn sha256_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            use std::fmt::Write;
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_refused_with_both_figures() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let error = cache
            .need_bytes(u64::MAX, "a test")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("too full") && error.contains("--cache"),
            "{error}"
        );
        cache.need_bytes(0, "nothing").unwrap();
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(
            sha256_parts([b"ab".as_slice(), b"c"]),
            sha256_parts([b"a".as_slice(), b"bc"])
        );
    }

    #[test]
    fn hash_of_a_known_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            sha256_file(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
