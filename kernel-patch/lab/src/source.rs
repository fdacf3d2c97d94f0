//! Kernel source trees: unpacked packages, copies of them with patches applied, and the user's own
//! trees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, sha256_file, sha256_parts};
use crate::process;

/// Prefix of the build directories inside a tree. They are direct children of it on purpose: only
/// then does the kernel's build use relative paths throughout, and a copied tree with its builds
/// stays up to date.
pub const BUILD_PREFIX: &str = "lab-";

/// A tree that a kernel can be built from.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its directory.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: TreeOrigin,
    /// Patches applied on top: file name and SHA-256.
    pub patches: Vec<(String, String)>,
    /// The label of the patches, for the name of kernels.
    pub label: String,
}

/// Where a tree comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TreeOrigin {
    /// A source package that the lab unpacked.
    Package {
        /// The package, such as `linux-source-7.3`.
        package: String,
        /// Its Debian version.
        version: String,
        /// The suite that it came from.
        suite: String,
        /// Its SHA-256, as in the signed index.
        sha256: String,
    },
    /// A directory of the user's own, in which the lab writes nothing.
    Own,
}

impl Tree {
    /// A tree of the user's own.
    ///
    /// # Errors
    /// When there is no kernel tree at `path`.
    pub fn own(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("no tree at {}", path.display()))?;
        if !path.join("Kconfig").is_file() || !path.join("kernel/cgroup").is_dir() {
            bail!(
                "{} is not a kernel tree: it has no Kconfig, or no kernel/cgroup",
                path.display()
            );
        }
        Ok(Self {
            path,
            origin: TreeOrigin::Own,
            patches: Vec::new(),
            label: String::new(),
        })
    }

    /// All unpacked packages, newest version last.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn fetched(cache: &Cache) -> Result<Vec<Self>> {
        let dir = cache.dir("trees")?;
        let mut trees = Vec::new();
        for entry in fs::read_dir(&dir)
            .with_context(|| format!("cannot list {}", dir.display()))?
            .filter_map(Result::ok)
        {
            let record = entry.path();
            if record
                .extension()
                .is_none_or(|extension| extension != "json")
            {
                continue;
            }
            let text = fs::read_to_string(&record)
                .with_context(|| format!("cannot read {}", record.display()))?;
            let origin: TreeOrigin = serde_json::from_str(&text)
                .with_context(|| format!("cannot understand {}", record.display()))?;
            let path = record.with_extension("");
            trees.push(Self {
                path,
                origin,
                patches: Vec::new(),
                label: String::new(),
            });
        }
        trees.sort_by(|a, b| crate::deb::compare(a.version(), b.version()));
        Ok(trees)
    }

    /// The fetched tree that `wanted` means (`newest`, or the beginning of a version such as
    /// `6.12`).
    ///
    /// # Errors
    /// When none was fetched that fits.
    pub fn find(cache: &Cache, wanted: &str) -> Result<Self> {
        let trees = Self::fetched(cache)?;
        let fits = |tree: &&Self| {
            let rest = tree.version().strip_prefix(wanted);
            wanted == "newest"
                || rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let have: Vec<&str> = trees.iter().map(Self::version).collect();
        trees.iter().rfind(fits).cloned().with_context(|| {
            format!(
                "no fetched source is {wanted}: there is {}. Run `lab fetch --source {wanted}`, or \
                    give your own with --tree PATH",
                if have.is_empty() {
                    "none yet".to_owned()
                } else {
                    have.join(", ")
                }
            )
        })
    }

    /// The package's version; empty for a user's tree.
    #[must_use]
    pub fn version(&self) -> &str {
        match &self.origin {
            TreeOrigin::Package { version, .. } => version,
            TreeOrigin::Own => "",
        }
    }

    /// Unpacks a source package. The record is written last: a tree without one is begun anew.
    ///
    /// # Errors
    /// When there is no room, or a tool fails.
    pub fn unpack(cache: &Cache, package_file: &Path, origin: TreeOrigin) -> Result<Self> {
        let TreeOrigin::Package {
            package, version, ..
        } = &origin
        else {
            bail!("only packages are unpacked")
        };
        cache.need_bytes(3 << 30, "an unpacked kernel source with a build")?;
        let name = format!("{package}_{version}").replace('~', "-");
        let path = cache.dir("trees")?.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove the unfinished {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let member = format!("./usr/src/{package}.tar.xz");
        // package | the archive in it | its files
        let mut outer = pipe(
            Command::new("dpkg-deb")
                .arg("--fsys-tarfile")
                .arg(package_file),
            None,
        )?;
        let mut inner = pipe(
            Command::new("tar").args(["-xO", &member]),
            outer.stdout.take(),
        )?;
        let input = inner.stdout.take().context("no pipe")?;
        let unpacked = Command::new("tar")
            .args(["-xJ", "--strip-components=1", "-C"])
            .arg(&path)
            .stdin(input)
            .output()
            .context("cannot start tar")?;
        let said = String::from_utf8_lossy(&unpacked.stderr).into_owned();
        if said.contains("No space left on device") {
            bail!(
                "the disk is full: unpacking {package} into {}; free some, or choose another place \
                    with --cache DIR",
                path.display()
            );
        }
        let inner = inner.wait_with_output().context("cannot wait for tar")?;
        let outer = outer
            .wait_with_output()
            .context("cannot wait for dpkg-deb")?;
        if !(unpacked.status.success() && inner.status.success() && outer.status.success()) {
            let all = [&outer.stderr, &inner.stderr, &unpacked.stderr]
                .map(|s| String::from_utf8_lossy(s).into_owned());
            bail!(
                "cannot unpack {}: {}",
                package_file.display(),
                process::tail(&all.join("\n"), 8)
            );
        }
        let record = path.with_file_name(format!(
            "{}.json",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        let text = serde_json::to_string_pretty(&origin).context("encode the tree's record")?;
        fs::write(&record, text).with_context(|| format!("cannot write {}", record.display()))?;
        Ok(Self {
            path,
            origin,
            patches: Vec::new(),
            label: String::new(),
        })
    }

    /// This tree with the first `limit` patches of each series applied, in a copy that shares the
    /// unchanged files. Copies are kept by content, and begin with the builds of the nearest tree
    /// at hand, so that only what a patch touches is built again.
    ///
    /// # Errors
    /// When a patch does not apply; the patch and the hunk are in the message.
    pub fn with_series(
        &self,
        cache: &Cache,
        series: &[PathBuf],
        limit: Option<usize>,
    ) -> Result<Self> {
        if series.is_empty() {
            return Ok(self.clone());
        }
        if self.origin == TreeOrigin::Own {
            bail!(
                "--series goes with a fetched source: apply the patches to your own tree yourself"
            );
        }
        let files = patch_files(series)?;
        let files = &files[..limit.unwrap_or(files.len()).min(files.len())];
        let mut patches = Vec::new();
        for file in files {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            patches.push((name, sha256_file(file)?));
        }
        let mut label: Vec<String> = series
            .iter()
            .map(|dir| {
                dir.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        if let Some(limit) = limit {
            label.push(limit.to_string());
        }
        let path = self.patched_path(cache, &patches)?;
        let tree = Self {
            path,
            origin: self.origin.clone(),
            patches,
            label: label.join("+"),
        };
        let _preparing = cache.lock(&format!("prepare-{}", tree.name()))?;
        if tree.is_complete() {
            return Ok(tree);
        }
        if tree.path.exists() {
            fs::remove_dir_all(&tree.path)
                .with_context(|| format!("cannot remove {}", tree.path.display()))?;
        }
        let (start, applied) = self.nearest(cache, &tree.patches)?;
        {
            let _building = start.lock(cache)?;
            copy_tree(&start.path, &tree.path)?;
        }
        for file in &files[applied..] {
            // patch(1) writes a new file and renames it, so the other tree's files stay as they
            // are.
            process::output(
                Command::new("patch")
                    .current_dir(&tree.path)
                    .args(["-p1", "--batch", "--forward", "-F0", "-i"])
                    .arg(file),
            )
            .with_context(|| format!("{} does not apply to {}", file.display(), self.name()))?;
        }
        let done = tree.mark();
        fs::write(&done, "").with_context(|| format!("cannot write {}", done.display()))?;
        Ok(tree)
    }

    /// The existing tree with the longest proper prefix of `patches` applied, and the length of
    /// that prefix. Its builds are the closest.
    fn nearest(&self, cache: &Cache, patches: &[(String, String)]) -> Result<(Self, usize)> {
        for applied in (1..patches.len()).rev() {
            let tree = Self {
                path: self.patched_path(cache, &patches[..applied])?,
                ..self.clone()
            };
            if tree.is_complete() {
                return Ok((tree, applied));
            }
        }
        Ok((self.clone(), 0))
    }

    /// Where a copy with `patches` is, by content.
    fn patched_path(&self, cache: &Cache, patches: &[(String, String)]) -> Result<PathBuf> {
        let key = sha256_parts(patches.iter().map(|(_, hash)| hash.as_bytes()));
        Ok(cache
            .dir("patched")?
            .join(format!("{}+{}", self.name(), &key[..16])))
    }

    fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The file that marks a patched copy as complete. Not `with_extension`: the name has dots of
    /// its own.
    fn mark(&self) -> PathBuf {
        self.path.with_file_name(format!("{}.done", self.name()))
    }

    fn is_complete(&self) -> bool {
        self.mark().is_file()
    }

    /// Two builds of one tree would write the same files. Released when the value is dropped.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self, cache: &Cache) -> Result<Flock<fs::File>> {
        cache.lock(&sha256_parts([self.path.as_os_str().as_encoded_bytes()])[..16])
    }
}

/// The patches of a series: `*.patch` in the directory (and not below it), by name, without the
/// cover letter.
///
/// # Errors
/// When a directory cannot be listed, or has none.
pub fn patch_files(series: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in series {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("no series at {}", dir.display()))?;
        let mut found: Vec<PathBuf> = fs::read_dir(&dir)
            .with_context(|| format!("cannot list {}", dir.display()))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "patch")
            })
            .filter(|path| {
                !path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .contains("cover-letter")
            })
            .collect();
        if found.is_empty() {
            bail!("{} has no *.patch", dir.display());
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Copies sources as hard links and builds as files.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries: Vec<PathBuf> = fs::read_dir(from)
        .with_context(|| format!("cannot list {}", from.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    let is_build = |path: &&PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .starts_with(BUILD_PREFIX)
    };
    let (builds, sources): (Vec<&PathBuf>, Vec<&PathBuf>) = entries.iter().partition(is_build);
    process::output(Command::new("cp").arg("-al").args(sources).arg(to))
        .context("cannot copy the tree")?;
    if !builds.is_empty() {
        process::output(
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .args(builds)
                .arg(to),
        )
        .context("cannot copy the tree's builds")?;
    }
    Ok(())
}

fn pipe(
    command: &mut Command,
    input: Option<std::process::ChildStdout>,
) -> Result<std::process::Child> {
    let input = input.map_or_else(Stdio::null, Stdio::from);
    let line = process::line(command);
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))
}

#[cfg(test)]
mod tests;
