//! Kernels built from a tree and fragments, cached by content.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};

use crate::cache::{Cache, sha256_file, sha256_parts};
use crate::clock::now;
use crate::config::{self, Fragment};
use crate::kernel::{Built, Kernel, Origin};
use crate::process;
use crate::source::{BUILD_PREFIX, Tree, TreeOrigin};

/// What to build.
#[derive(Debug)]
pub struct Build<'a> {
    /// The sources, with the patches already in them.
    pub tree: &'a Tree,
    /// Where the fragments are.
    pub fragments: &'a Path,
    /// Fragments beside the basic ones, such as `hz1000`.
    pub variants: &'a [String],
    /// Arguments for make, such as `C=1`.
    pub make_args: &'a [String],
}

/// The result of a build.
#[derive(Debug)]
pub struct Outcome {
    /// The kernel.
    pub kernel: Kernel,
    /// Whether it was there already.
    pub cached: bool,
    /// The directory of its object files.
    pub directory: PathBuf,
}

impl Build<'_> {
    /// Builds the image, or returns the one that was built from the same content.
    ///
    /// # Errors
    /// When there is no room, the configuration is not taken as written, or make fails; make's log
    /// is named.
    pub fn run(&self, cache: &Cache) -> Result<Outcome> {
        let fragments = config::fragments(self.fragments, self.variants)?;
        let config_name = config::name(self.variants);
        let directory = self.directory(cache, &config_name)?;
        let compiler = first_line(&process::text(Command::new("gcc").arg("--version"))?);
        let key = self.key(&fragments, &compiler);
        let name = self.kernel_name(&config_name)?;
        if self.make_args.is_empty()
            && let Some(kernel) = Kernel::kept(cache, &name)?
            && let Origin::Built(built) = &kernel.origin
            && key.is_some()
            && built.key == key
        {
            return Ok(Outcome {
                kernel,
                cached: true,
                directory,
            });
        }
        cache.need_bytes(
            if config_name.contains("debug") {
                3 << 30
            } else {
                1 << 30
            },
            "a kernel build",
        )?;
        let _lock = self.tree.lock(cache)?;
        let started = now();
        let log = directory.join("lab-build.log");
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        let finished = self.configure(&directory, &fragments, &log)?;
        let (target, image) = match config::is_um(self.variants) {
            true => ("linux", "linux"),
            false => ("bzImage", "arch/x86/boot/bzImage"),
        };
        process::logged(self.make(&directory).args(self.make_args).arg(target), &log)
            .with_context(|| format!("the build failed; all of it is in {}", log.display()))?;
        let built = Built {
            source: self.source_label(),
            source_sha256: match &self.tree.origin {
                TreeOrigin::Package { sha256, .. } => Some(sha256.clone()),
                TreeOrigin::Own => None,
            },
            fragments: fragments
                .iter()
                .map(|fragment| fragment.name.clone())
                .collect(),
            patches: self.tree.patches.clone(),
            compiler,
            key,
            build_s: (now() - started).as_secs(),
            ticks: config::ticks(&finished),
        };
        let image = directory.join(image);
        let kernel = Kernel::keep(
            cache,
            &name,
            &image,
            Some(&directory.join(".config")),
            Origin::Built(built),
        )?;
        Ok(Outcome {
            kernel,
            cached: false,
            directory,
        })
    }

    /// Compiles only `targets`, such as `kernel/cgroup/`: whether a patch builds in a
    /// configuration, without a kernel.
    ///
    /// # Errors
    /// As for [`Build::run`].
    pub fn compile(&self, cache: &Cache, targets: &[String]) -> Result<PathBuf> {
        let fragments = config::fragments(self.fragments, self.variants)?;
        let directory = self.directory(cache, &config::name(self.variants))?;
        cache.need_bytes(1 << 29, "a part of a kernel build")?;
        let _lock = self.tree.lock(cache)?;
        let log = directory.join("lab-build.log");
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        self.configure(&directory, &fragments, &log)?;
        process::logged(
            self.make(&directory).args(self.make_args).args(targets),
            &log,
        )
        .with_context(|| format!("the build failed; all of it is in {}", log.display()))?;
        Ok(directory)
    }

    /// A make command for this tree and these object files. User, host, number and time are
    /// fixed, so that nothing of the machine gets into the image and equal content gives equal
    /// images.
    #[must_use]
    pub fn make(&self, directory: &Path) -> Command {
        let mut make = Command::new("make");
        let jobs = available_parallelism().map_or(2, std::num::NonZero::get);
        let output = directory.strip_prefix(&self.tree.path).unwrap_or(directory);
        make.current_dir(&self.tree.path)
            .arg(format!("O={}", output.display()))
            .arg(format!("-j{jobs}"))
            .args(config::is_um(self.variants).then_some("ARCH=um"))
            .env("LC_ALL", "C")
            .env("KBUILD_BUILD_USER", "lab")
            .env("KBUILD_BUILD_HOST", "lab")
            // Else a number that each build counts up is in the image.
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970");
        make
    }

    /// Where the object files are: in the tree if the lab owns it, in the cache if it is the
    /// user's.
    fn directory(&self, cache: &Cache, config_name: &str) -> Result<PathBuf> {
        let name = format!("{BUILD_PREFIX}{config_name}");
        let path = match self.tree.origin {
            TreeOrigin::Package { .. } => self.tree.path.join(name),
            TreeOrigin::Own => {
                let key = sha256_parts([self.tree.path.as_os_str().as_encoded_bytes()]);
                cache.dir("own")?.join(&key[..16]).join(name)
            }
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Writes the configuration; returns its text as Kconfig finished it.
    fn configure(&self, directory: &Path, fragments: &[Fragment], log: &Path) -> Result<String> {
        let path = directory.join(".config");
        process::logged(self.make(directory).arg("tinyconfig"), log)
            .context("cannot make the tiny configuration")?;
        let base =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, config::merge(&base, fragments))
            .with_context(|| format!("cannot write {}", path.display()))?;
        process::logged(self.make(directory).arg("olddefconfig"), log)
            .context("cannot finish the configuration")?;
        let finished =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        config::check(&finished, fragments)?;
        Ok(finished)
    }

    /// The hash of everything that goes in; none for a tree that can change under us.
    fn key(&self, fragments: &[Fragment], compiler: &str) -> Option<String> {
        let TreeOrigin::Package { sha256, .. } = &self.tree.origin else {
            return None;
        };
        let mut parts = vec![sha256.clone(), compiler.to_owned()];
        parts.extend(self.tree.patches.iter().map(|(_, hash)| hash.clone()));
        parts.extend(
            fragments
                .iter()
                .flat_map(|f| &f.lines)
                .map(|line| format!("{}={}", line.symbol, line.value)),
        );
        Some(sha256_parts(parts.iter().map(String::as_bytes)))
    }

    /// `7.3.0-rc7-small`, `6.12.117-hz1000+series`, `own-small`.
    fn kernel_name(&self, config_name: &str) -> Result<String> {
        let base = match self.tree.origin {
            TreeOrigin::Package { .. } => makefile_version(&self.tree.path)?,
            TreeOrigin::Own => {
                let name = self
                    .tree
                    .path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                format!("own-{name}")
            }
        };
        let label = if self.tree.label.is_empty() {
            String::new()
        } else {
            format!("+{}", self.tree.label)
        };
        Ok(format!("{base}-{config_name}{label}"))
    }

    fn source_label(&self) -> String {
        match &self.tree.origin {
            TreeOrigin::Package {
                package, version, ..
            } => format!("{package} {version}"),
            TreeOrigin::Own => {
                let head = process::text(
                    Command::new("git")
                        .current_dir(&self.tree.path)
                        .args(["describe", "--always", "--dirty"]),
                );
                format!(
                    "own tree {}",
                    head.map_or_else(|_| "without git".to_owned(), |text| text.trim().to_owned())
                )
            }
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The version that a tree's Makefile gives itself.
fn makefile_version(tree: &Path) -> Result<String> {
    let path = tree.join("Makefile");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_makefile_version(&text).with_context(|| format!("{} has no VERSION", path.display()))
}

fn parse_makefile_version(text: &str) -> Option<String> {
    let field = |name: &str| {
        let value = text
            .lines()
            .take(10)
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
        Some(value.trim().to_owned())
    };
    let (version, patch, sub) = (field("VERSION")?, field("PATCHLEVEL")?, field("SUBLEVEL")?);
    Some(format!(
        "{version}.{patch}.{sub}{}",
        field("EXTRAVERSION").unwrap_or_default()
    ))
}

/// The SHA-256 of a kernel image, for records.
///
/// # Errors
/// When it cannot be read.
pub fn image_sha256(kernel: &Kernel) -> Result<String> {
    sha256_file(&kernel.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_makefile_says_its_version() {
        let text =
            "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION = -rc7\nNAME = x\n";
        assert_eq!(parse_makefile_version(text).as_deref(), Some("7.3.0-rc7"));
        assert_eq!(
            parse_makefile_version(
                "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\n"
            )
            .as_deref(),
            Some("6.12.117")
        );
        assert_eq!(parse_makefile_version("all:\n"), None);
    }
}
