//! apt in directories of the lab's own. The machine's sources say which mirror and which keyring;
//! further suites of the same mirror are added there and nowhere else. Signatures are checked by
//! apt, checksums by apt and once more here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Package, WrongChecksum, parse_index};
use crate::cache::{Cache, sha256_file};
use crate::process;

/// Suites added to those that the machine has configured, by their role, so that no release has to
/// be named. The newest kernels are in the first two, the kernels between two releases in the
/// backports.
const ADDED: [&str; 6] = [
    "experimental",
    "unstable",
    "testing",
    "stable-backports",
    "oldstable",
    "oldstable-backports",
];

/// Where packages come from: what the machine has configured, or one more suite of the same mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suite {
    /// The machine's own sources, read only.
    Configured,
    /// A suite by its role.
    Added(&'static str),
}

impl Suite {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        std::iter::once(Self::Configured)
            .chain(ADDED.map(Self::Added))
            .collect()
    }

    /// Its name in messages and records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Added(name) => name,
        }
    }
}

/// The mirror of the machine's main archive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    uri: String,
    /// The `Signed-By` of the source it comes from, when there is one.
    keyring: Option<String>,
}

/// apt with lists, archives and sources below the lab's cache.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Makes the directories.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(cache: &Cache) -> Result<Self> {
        Ok(Self {
            dir: cache.dir("apt")?,
        })
    }

    /// Fetches the index of a suite anew.
    ///
    /// # Errors
    /// When the mirror does not have the suite, its signature does not verify, or the mirror cannot
    /// be told.
    pub fn update(&self, suite: &Suite) -> Result<()> {
        for part in ["lists/partial", "archives/partial", "sources", "empty"] {
            let path = self.dir.join(suite.name()).join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        if let Suite::Added(name) = suite {
            let mirror = self.mirror()?;
            let signed = mirror
                .keyring
                .map(|path| format!("Signed-By: {path}\n"))
                .unwrap_or_default();
            let text = format!(
                "Types: deb\nURIs: {}\nSuites: {name}\nComponents: main\n{signed}",
                mirror.uri
            );
            let path = self.dir.join(suite.name()).join("sources/lab.sources");
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        // Only the index of packages: no translations, no icons.
        process::output(self.apt("apt-get", suite).args([
            "-o",
            "Acquire::Languages=none",
            "update",
            "--error-on=any",
        ]))
        .map(drop)
        .with_context(|| format!("suite {}", suite.name()))
    }

    /// The packages of a suite whose name is `wanted`, from its verified index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn packages(&self, suite: &Suite, wanted: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
        let listed = process::text(self.apt("apt-get", suite).args([
            "indextargets",
            "--format",
            "$(FILENAME)",
            "Created-By: Packages",
        ]))?;
        let mut packages = Vec::new();
        for file in listed.lines() {
            // apt keeps its lists compressed in a way of its own choice, and reads them all.
            let text =
                process::text(Command::new("/usr/lib/apt/apt-helper").args(["cat-file", file]))?;
            packages.extend(parse_index(&text, &wanted));
        }
        Ok(packages)
    }

    /// Downloads exactly this package into `to` and checks it against the index.
    ///
    /// # Errors
    /// When the download fails; [`WrongChecksum`] when the file is not the one of the index.
    pub fn download(&self, suite: &Suite, package: &Package, to: &Path) -> Result<PathBuf> {
        fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
        let name = format!(
            "{}:{}={}",
            package.name, package.architecture, package.version
        );
        let name = if package.architecture == "all" {
            name.replace(":all=", "=")
        } else {
            name
        };
        process::output(
            self.apt("apt-get", suite)
                .current_dir(to)
                .args(["download", &name]),
        )
        .with_context(|| format!("cannot download {name} from suite {}", suite.name()))?;
        let prefix = format!("{}_", package.name);
        let file = fs::read_dir(to)
            .with_context(|| format!("cannot list {}", to.display()))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
            })
            .with_context(|| {
                format!("apt downloaded {name} and left no file in {}", to.display())
            })?;
        verify(&file, &package.sha256)?;
        Ok(file)
    }

    /// An apt command that sees one suite and writes only below the lab's directory.
    fn apt(&self, program: &str, suite: &Suite) -> Command {
        let at = self.dir.join(suite.name());
        let mut command = Command::new(program);
        let mut set = |key: &str, value: &str| {
            command.arg("-o").arg(format!("{key}={value}"));
        };
        let path = |part: &str| at.join(part).display().to_string();
        set("Dir::State::lists", &path("lists"));
        set("Dir::Cache", &at.display().to_string());
        set("Dir::Cache::archives", &path("archives"));
        if *suite != Suite::Configured {
            set("Dir::Etc::sourcelist", "/dev/null");
            set("Dir::Etc::sourceparts", &path("sources"));
        }
        // The machine's pins concern what it installs; here nothing is installed.
        set("Dir::Etc::preferences", "/dev/null");
        set("Dir::Etc::preferencesparts", &path("empty"));
        // The user `_apt` may not reach a cache in a home directory.
        set("APT::Sandbox::User", "");
        set("Acquire::AllowInsecureRepositories", "false");
        set("APT::Get::AllowUnauthenticated", "false");
        set(
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
            "false",
        );
        set("Acquire::Retries", "3");
        command
    }

    /// Asks apt which of the machine's sources is Debian's main archive.
    fn mirror(&self) -> Result<Mirror> {
        let listed = process::text(self.apt("apt-get", &Suite::Configured).args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(SOURCESENTRY)",
            "Created-By: Packages",
        ]))?;
        let found = listed.lines().find_map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let ["Debian", "Debian", uri, entry] = fields[..] else {
                return None;
            };
            Some((uri.to_owned(), entry.to_owned()))
        });
        let Some((uri, entry)) = found else {
            bail!(
                "none of this machine's apt sources is Debian's main archive (origin and label \
                    \"Debian\"), so no kernel can be fetched; build your own tree with --tree \
                    PATH, or boot an image with --kernel PATH"
            );
        };
        let source = entry
            .rsplit_once(':')
            .map_or(entry.as_str(), |(path, _)| path);
        let text = fs::read_to_string(source).with_context(|| format!("cannot read {source}"))?;
        Ok(Mirror {
            uri,
            keyring: keyring_in(&text),
        })
    }
}

/// The first keyring file that a source list names, in either of its two formats
/// (`sources.list(5)`).
fn keyring_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .find_map(|line| {
            let value = line
                .strip_prefix("Signed-By:")
                .or_else(|| line.split_once("signed-by=").map(|(_, rest)| rest))?;
            let path = value.trim().split([' ', ']', ',']).next()?;
            path.starts_with('/').then(|| path.to_owned())
        })
}

/// Compares a file with the checksum it should have; a wrong file is removed, so that it is not
/// used by accident.
pub(super) fn verify(file: &Path, expected: &str) -> Result<()> {
    let got = sha256_file(file)?;
    if got != expected {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        let file = file.display().to_string();
        bail!(WrongChecksum {
            file,
            got,
            expected: expected.to_owned()
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_one_error_and_the_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("linux.deb");
        fs::write(&file, "abc").unwrap();
        let error = verify(&file, &"0".repeat(64)).unwrap_err();
        assert!(error.downcast_ref::<WrongChecksum>().is_some(), "{error}");
        assert!(!file.exists());
    }

    #[test]
    fn the_right_checksum_passes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("linux.deb");
        fs::write(&file, "abc").unwrap();
        verify(
            &file,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        .unwrap();
        assert!(file.exists());
    }

    #[test]
    fn keyrings_of_both_formats() {
        let deb822 =
            "Types: deb\nURIs: x\n# Signed-By: /no\nSigned-By: /usr/share/keyrings/a.gpg\n";
        assert_eq!(
            keyring_in(deb822).as_deref(),
            Some("/usr/share/keyrings/a.gpg")
        );
        let one_line = "deb [arch=amd64 signed-by=/usr/share/keyrings/b.gpg] uri suite main\n";
        assert_eq!(
            keyring_in(one_line).as_deref(),
            Some("/usr/share/keyrings/b.gpg")
        );
        assert_eq!(keyring_in("deb uri suite main\n"), None);
    }
}
