//! The kernels that the lab has: stock ones out of packages, built ones, and any image on disk.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, sha256_file};

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What `--kernel` takes.
    pub name: String,
    /// The image.
    pub image: PathBuf,
    /// Its configuration, when known.
    pub config: Option<PathBuf>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a kernel comes from; written beside its image and into every record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// A distribution's package.
    Stock(Stock),
    /// Built by the lab.
    Built(Built),
    /// A file that the user named.
    File {
        /// Its SHA-256.
        sha256: String,
    },
}

/// A kernel package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// The package.
    pub package: String,
    /// Its Debian version.
    pub version: String,
    /// The suite that it came from.
    pub suite: String,
    /// The package's SHA-256, as in the signed index.
    pub sha256: String,
}

/// What a build was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The source package and its version, or the path of a tree of the user's own.
    pub source: String,
    /// The source package's SHA-256; none for a user's tree.
    pub source_sha256: Option<String>,
    /// The fragments, in order.
    pub fragments: Vec<String>,
    /// The patches, in order, each with its SHA-256.
    pub patches: Vec<(String, String)>,
    /// The compiler's version line.
    pub compiler: String,
    /// Hash of all that went in; equal keys are equal kernels. None for a user's tree, which can
    /// change at any time.
    pub key: Option<String>,
    /// How long the last build took on this machine.
    pub build_s: u64,
    /// HZ and preemption model as the configuration has them.
    pub ticks: String,
}

/// File names inside a kernel's directory.
const IMAGE: &str = "bzImage";
const CONFIG: &str = "config";
const RECORD: &str = "kernel.json";

impl Kernel {
    /// The directory of the kernel called `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(cache: &Cache, name: &str) -> Result<PathBuf> {
        cache.dir(&format!("kernels/{name}"))
    }

    /// Keeps an image and its configuration under `name`; the record is written last, so that an
    /// incomplete kernel does not count.
    ///
    /// # Errors
    /// When a file cannot be copied or written.
    pub fn keep(
        cache: &Cache,
        name: &str,
        image: &Path,
        config: Option<&Path>,
        origin: Origin,
    ) -> Result<Self> {
        let dir = Self::directory(cache, name)?;
        let copy = |from: &Path, to: &str| {
            let to = dir.join(to);
            fs::copy(from, &to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
            Ok::<_, anyhow::Error>(to)
        };
        let image = copy(image, IMAGE)?;
        let config = config.map(|path| copy(path, CONFIG)).transpose()?;
        let text = serde_json::to_string_pretty(&origin).context("encode the kernel's record")?;
        let record = dir.join(RECORD);
        fs::write(&record, text + "\n")
            .with_context(|| format!("cannot write {}", record.display()))?;
        Ok(Self {
            name: name.to_owned(),
            image,
            config,
            origin,
        })
    }

    /// The kernel kept under `name`, if there is one.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn kept(cache: &Cache, name: &str) -> Result<Option<Self>> {
        let dir = cache.root().join("kernels").join(name);
        let record = dir.join(RECORD);
        if !record.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&record)
            .with_context(|| format!("cannot read {}", record.display()))?;
        let origin = serde_json::from_str(&text)
            .with_context(|| format!("cannot understand {}", record.display()))?;
        let config = Some(dir.join(CONFIG)).filter(|path| path.is_file());
        Ok(Some(Self {
            name: name.to_owned(),
            image: dir.join(IMAGE),
            config,
            origin,
        }))
    }

    /// All kernels that are kept, by name.
    ///
    /// # Errors
    /// When the directory or a record cannot be read.
    pub fn all(cache: &Cache) -> Result<Vec<Self>> {
        let dir = cache.dir("kernels")?;
        let mut names: Vec<String> = fs::read_dir(&dir)
            .with_context(|| format!("cannot list {}", dir.display()))?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_by(|a, b| crate::deb::compare(a, b));
        names
            .iter()
            .filter_map(|name| Self::kept(cache, name).transpose())
            .collect()
    }

    /// The newest stock kernel, else the one built last in the order of names: the default.
    fn newest(all: Vec<Self>) -> Result<Self> {
        let version = |kernel: &Self| match &kernel.origin {
            Origin::Stock(stock) => Some(stock.version.clone()),
            _ => None,
        };
        let stock = all
            .iter()
            .filter(|kernel| version(kernel).is_some() && !kernel.name.ends_with("-rt"))
            .max_by(|a, b| {
                crate::deb::compare(
                    &version(a).unwrap_or_default(),
                    &version(b).unwrap_or_default(),
                )
            });
        stock.or(all.last()).cloned().context(
            "the lab has no kernel yet: `lab fetch --stock 6.12` gets a stock one in a minute, \
                `lab build` builds one",
        )
    }

    /// The kernel that `text` means: a kept name, the only kept name that contains it, `newest` for
    /// the newest stock one, or the path of an image.
    ///
    /// # Errors
    /// When it means none, or several.
    pub fn find(cache: &Cache, text: &str) -> Result<Self> {
        if let Some(kernel) = Self::kept(cache, text)? {
            return Ok(kernel);
        }
        if text.contains('/') {
            let image = PathBuf::from(text);
            let sha256 = sha256_file(&image)?;
            let config = image
                .parent()
                .and_then(Path::parent)
                .and_then(Path::parent)
                .and_then(Path::parent);
            let config = config
                .map(|root| root.join(".config"))
                .filter(|path| path.is_file());
            return Ok(Self {
                name: text.to_owned(),
                image,
                config,
                origin: Origin::File { sha256 },
            });
        }
        let all = Self::all(cache)?;
        if text == "newest" {
            return Self::newest(all);
        }
        let names: Vec<&str> = all.iter().map(|kernel| kernel.name.as_str()).collect();
        let hits: Vec<&Self> = all
            .iter()
            .filter(|kernel| kernel.name.contains(text))
            .collect();
        match hits.as_slice() {
            [only] => Ok((*only).clone()),
            [] => bail!(
                "no kernel is called {text:?}; there are: {}. `lab fetch` gets stock kernels, `lab \
                    build` builds one, and a path to an image works too",
                if names.is_empty() {
                    "none yet".to_owned()
                } else {
                    names.join(", ")
                }
            ),
            more => {
                let more: Vec<&str> = more.iter().map(|kernel| kernel.name.as_str()).collect();
                bail!("{text:?} means more than one kernel: {}", more.join(", "))
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stock(stock) => {
                write!(f, "{} {} ({})", stock.package, stock.version, stock.suite)
            }
            Self::Built(built) => {
                write!(
                    f,
                    "built from {}, {}, {}",
                    built.source,
                    built.fragments.join("+"),
                    built.ticks
                )?;
                match built.patches.len() {
                    0 => Ok(()),
                    n => write!(f, ", {n} patches"),
                }
            }
            Self::File { sha256 } => write!(f, "file with SHA-256 {sha256}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(version: &str) -> Origin {
        Origin::Stock(Stock {
            package: "linux-image-x".to_owned(),
            version: version.to_owned(),
            suite: "configured".to_owned(),
            sha256: "0".repeat(64),
        })
    }

    #[test]
    fn kernels_are_kept_and_found_by_a_part_of_their_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let image = dir.path().join("vmlinuz");
        fs::write(&image, "image").unwrap();
        Kernel::keep(&cache, "stock-6.1", &image, None, stock("6.1.192-2")).unwrap();
        Kernel::keep(
            &cache,
            "stock-6.12",
            &image,
            Some(&image),
            stock("6.12.117-1"),
        )
        .unwrap();
        let names: Vec<String> = Kernel::all(&cache)
            .unwrap()
            .into_iter()
            .map(|kernel| kernel.name)
            .collect();
        assert_eq!(names, ["stock-6.1", "stock-6.12"]);
        // An exact name wins over a longer one that contains it.
        assert_eq!(
            Kernel::find(&cache, "stock-6.1").unwrap().origin,
            stock("6.1.192-2")
        );
        assert_eq!(Kernel::find(&cache, "6.12").unwrap().name, "stock-6.12");
        assert!(
            Kernel::find(&cache, "stock")
                .unwrap_err()
                .to_string()
                .contains("more than one")
        );
        assert!(
            Kernel::find(&cache, "5.4")
                .unwrap_err()
                .to_string()
                .contains("stock-6.12")
        );
        assert!(Kernel::find(&cache, image.to_str().unwrap()).is_ok());
        assert_eq!(Kernel::find(&cache, "newest").unwrap().name, "stock-6.12");
    }

    #[test]
    fn a_lab_without_kernels_says_how_to_get_one() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let error = Kernel::find(&cache, "newest").unwrap_err().to_string();
        assert!(error.contains("lab fetch --stock"), "{error}");
    }

    #[test]
    fn half_a_kernel_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        fs::write(Kernel::directory(&cache, "half").unwrap().join(IMAGE), "x").unwrap();
        assert!(Kernel::kept(&cache, "half").unwrap().is_none());
    }
}
