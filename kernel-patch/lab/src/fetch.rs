//! What to fetch: the newest source, and one stock image of each kernel series of the row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::deb::{Apt, Package, Suite, compare};
use crate::kernel::{Kernel, Origin, Stock};
use crate::process;
use crate::source::{Tree, TreeOrigin};

/// The row: where the semantics of "empty" changed, and what people run; 6.1.190 is the last of its
/// series that kills the child of a clone3 into a cgroup that was killed before. The newest of all
/// is added by itself.
pub const ROW: [&str; 9] = [
    "6.1.190", "6.1", "6.12", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
];

/// A package and the suite that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The package.
    pub package: Package,
    /// The suite.
    pub suite: Suite,
}

/// All kernel packages that the mirror offers.
#[derive(Debug)]
pub struct Market {
    apt: Apt,
    offers: Vec<Offer>,
    /// Suites that could not be read, and why: a fact about the mirror, not an error.
    pub missing: Vec<(&'static str, String)>,
}

/// The flavours of stock images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// For virtual machines: the smaller one.
    Cloud,
    /// With PREEMPT_RT.
    Rt,
}

impl Flavour {
    fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "-cloud-amd64",
            Self::Rt => "-rt-amd64",
        }
    }

    /// The kernel's name in the lab, after the series or exact version that was asked for.
    fn name(self, wanted: &str) -> String {
        match self {
            Self::Cloud => format!("stock-{wanted}"),
            Self::Rt => format!("stock-{wanted}-rt"),
        }
    }
}

impl Market {
    /// Reads the index of every suite anew.
    ///
    /// # Errors
    /// When the machine's own sources cannot be read; a missing further suite is noted and left
    /// out.
    pub fn open(cache: &Cache) -> Result<Self> {
        cache.need_bytes(200 << 20, "the mirror's indices")?;
        let apt = Apt::new(cache)?;
        let mut market = Self {
            apt,
            offers: Vec::new(),
            missing: Vec::new(),
        };
        let wanted = |name: &str| {
            [
                "linux-source-",
                "linux-image-",
                "linux-binary-",
                "linux-base-",
            ]
            .iter()
            .any(|p| name.starts_with(p))
        };
        for suite in Suite::all() {
            if let Err(error) = market.apt.update(&suite) {
                if suite == Suite::Configured {
                    return Err(error.context("cannot read the machine's own apt sources"));
                }
                market
                    .missing
                    .push((suite.name(), process::tail(&format!("{error:#}"), 1)));
                continue;
            }
            let packages = market.apt.packages(&suite, wanted)?;
            market
                .offers
                .extend(packages.into_iter().map(|package| Offer {
                    package,
                    suite: suite.clone(),
                }));
        }
        if market.offers.is_empty() {
            bail!("no suite of the mirror has a kernel package");
        }
        Ok(market)
    }

    /// The source packages, newest version last.
    #[must_use]
    pub fn sources(&self) -> Vec<&Offer> {
        sources(&self.offers)
    }

    /// The newest stock image of a series such as `6.1`, or of an exact version such as `6.1.176`.
    #[must_use]
    pub fn stock(&self, wanted: &str, flavour: Flavour) -> Option<&Offer> {
        stock(&self.offers, wanted, flavour)
    }

    /// Downloads and unpacks the source that `wanted` means, `newest` or a series. If the newest
    /// turns out to be gone, the next is taken, and the second part of the answer says so.
    ///
    /// # Errors
    /// When no source fits or none can be downloaded.
    pub fn fetch_source(&self, cache: &Cache, wanted: &str) -> Result<(Tree, Vec<String>)> {
        let offers: Vec<&Offer> = self
            .sources()
            .into_iter()
            .rev()
            .filter(|offer| wanted == "newest" || offer.package.series() == Some(wanted))
            .collect();
        let mut notes = Vec::new();
        for offer in &offers {
            match self.fetch_one_source(cache, offer) {
                Ok(tree) => return Ok((tree, notes)),
                Err(error) if is_about_this_package(&error) => {
                    notes.push(format!(
                        "{} {}: {error:#}",
                        offer.package.name, offer.package.version
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        let have: Vec<&str> = self
            .sources()
            .iter()
            .filter_map(|offer| offer.package.series())
            .collect();
        bail!(
            "no source package for {wanted} can be had; the mirror lists {}\n{}",
            have.join(", "),
            notes.join("\n")
        )
    }

    fn fetch_one_source(&self, cache: &Cache, offer: &Offer) -> Result<Tree> {
        let package = &offer.package;
        if let Some(tree) = Tree::fetched(cache)?.into_iter().find(|tree| {
            matches!(&tree.origin, TreeOrigin::Package { sha256,
                .. } if *sha256 == package.sha256)
        }) {
            return Ok(tree);
        }
        cache.need_bytes(package.size_bytes, &package.name)?;
        let dir =
            tempfile::tempdir_in(cache.root()).context("cannot make a temporary directory")?;
        let file = self.apt.download(&offer.suite, package, dir.path())?;
        let origin = TreeOrigin::Package {
            package: package.name.clone(),
            version: package.version.clone(),
            suite: offer.suite.name().to_owned(),
            sha256: package.sha256.clone(),
        };
        Tree::unpack(cache, &file, origin)
    }

    /// Downloads a stock image and keeps its kernel and configuration; the modules are not needed.
    ///
    /// # Errors
    /// When the download, the checksum or the unpacking fails.
    pub fn fetch_stock(
        &self,
        cache: &Cache,
        offer: &Offer,
        wanted: &str,
        flavour: Flavour,
    ) -> Result<(Kernel, bool)> {
        let package = &offer.package;
        let name = flavour.name(wanted);
        let origin = Origin::Stock(Stock {
            package: package.name.clone(),
            version: package.version.clone(),
            suite: offer.suite.name().to_owned(),
            sha256: package.sha256.clone(),
        });
        if let Some(kernel) = Kernel::kept(cache, &name)?
            && matches!(&kernel.origin, Origin::Stock(stock) if stock.sha256 == package.sha256)
        {
            return Ok((kernel, true));
        }
        cache.need_bytes(package.size_bytes * 2, &package.name)?;
        let dir =
            tempfile::tempdir_in(cache.root()).context("cannot make a temporary directory")?;
        let file = self.apt.download(&offer.suite, package, dir.path())?;
        let files = dir.path().join("files");
        process::output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&files))
            .with_context(|| format!("cannot unpack {}", package.name))?;
        // Older packages have it in /boot, those from 7.2 on beside the modules.
        let image = named(&files, "vmlinuz")?
            .with_context(|| format!("{} has no vmlinuz", package.name))?;
        let config = match named(&files, "config")? {
            Some(config) => Some(config),
            None => self.config_of(offer, dir.path())?,
        };
        Ok((
            Kernel::keep(cache, &name, &image, config.as_deref(), origin)?,
            false,
        ))
    }
}

impl Market {
    /// The configuration of a split image: it is in a small package of the same version.
    fn config_of(&self, image: &Offer, dir: &Path) -> Result<Option<PathBuf>> {
        let name = image
            .package
            .name
            .replacen("linux-binary-", "linux-base-", 1);
        let same = |offer: &&Offer| {
            let package = &offer.package;
            package.name == name
                && package.version == image.package.version
                && offer.suite == image.suite
        };
        let Some(base) = self
            .offers
            .iter()
            .filter(same)
            .find(|offer| offer.package.name != image.package.name)
        else {
            return Ok(None);
        };
        let file = self.apt.download(&base.suite, &base.package, dir)?;
        let files = dir.join("base");
        process::output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&files))
            .with_context(|| format!("cannot unpack {name}"))?;
        named(&files, "config")
    }
}

/// Whether trying an older package could help: a download that failed, but not a full disk or a
/// wrong checksum.
fn is_about_this_package(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(process::ProcessError::Failed { .. })
        )
    })
}

fn sources(offers: &[Offer]) -> Vec<&Offer> {
    let is_source = |name: &str| {
        let rest = name.strip_prefix("linux-source-");
        rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    let mut found: Vec<&Offer> = offers
        .iter()
        .filter(|offer| is_source(&offer.package.name))
        .collect();
    found.sort_by(|a, b| compare(&a.package.version, &b.package.version));
    found
}

/// From 6.19 on the image is in `linux-binary-*`, and `linux-image-*` of the same name only draws
/// in the modules.
fn stock<'a>(offers: &'a [Offer], wanted: &str, flavour: Flavour) -> Option<&'a Offer> {
    let binary_of = |name: &str| name.replacen("linux-image-", "linux-binary-", 1);
    let is_image = |package: &Package| {
        let name = &package.name;
        let fits = package.series() == Some(wanted) || package.upstream() == wanted;
        let right = name.ends_with(flavour.suffix()) && !name.contains("-dbg") && fits;
        let split = name.starts_with("linux-image-")
            && offers
                .iter()
                .any(|offer| offer.package.name == binary_of(name));
        // A package that only names another is small.
        right && !split && !name.starts_with("linux-source-") && package.size_bytes > 4 << 20
    };
    offers
        .iter()
        .filter(|offer| is_image(&offer.package))
        .max_by(|a, b| compare(&a.package.version, &b.package.version))
}

/// The first file called `name` or `name-…` in `dir` or below it.
fn named(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let mut later = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot ask what {} is", entry.path().display()))?;
        let rest = entry
            .file_name()
            .to_string_lossy()
            .strip_prefix(name)
            .map(str::to_owned);
        if kind.is_dir() {
            later.push(entry.path());
        } else if kind.is_file()
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        {
            return Ok(Some(entry.path()));
        }
    }
    later.sort();
    for dir in later {
        if let Some(found) = named(&dir, name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, version: &str, size_bytes: u64) -> Offer {
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            size_bytes,
            sha256: "0".repeat(64),
        };
        Offer {
            package,
            suite: Suite::Configured,
        }
    }

    fn offers() -> Vec<Offer> {
        vec![
            offer("linux-image-6.12-cloud-amd64", "6.12.117-1", 2_000),
            offer(
                "linux-image-6.12.117+deb12-cloud-amd64",
                "6.12.117-1~deb12u1",
                30 << 20,
            ),
            offer(
                "linux-image-6.12.99+deb12-cloud-amd64",
                "6.12.99-1",
                30 << 20,
            ),
            offer(
                "linux-image-6.12.118+deb12-cloud-amd64-dbg",
                "6.12.118-1",
                900 << 20,
            ),
            offer("linux-image-7.3-cloud-amd64", "7.3~rc7-1~exp1", 80 << 20),
            offer("linux-binary-7.3-cloud-amd64", "7.3~rc7-1~exp1", 13 << 20),
            offer("linux-binary-7.3-rt-amd64", "7.3~rc7-1~exp1", 13 << 20),
            offer("linux-source-6.12", "6.12.117-1", 140 << 20),
            offer("linux-source-7.3", "7.3~rc7-1~exp1", 160 << 20),
            offer("linux-source-7.2", "7.2.13-1", 160 << 20),
            offer("linux-source-7.2-extra", "9.9-1", 160 << 20),
        ]
    }

    #[test]
    fn the_newest_image_of_a_series_is_found_and_empty_packages_are_not() {
        let offers = offers();
        let name = |series, flavour| {
            stock(&offers, series, flavour).map(|offer| offer.package.name.as_str())
        };
        assert_eq!(
            name("6.12", Flavour::Cloud),
            Some("linux-image-6.12.117+deb12-cloud-amd64")
        );
        assert_eq!(
            name("7.3", Flavour::Cloud),
            Some("linux-binary-7.3-cloud-amd64")
        );
        assert_eq!(name("7.3", Flavour::Rt), Some("linux-binary-7.3-rt-amd64"));
        assert_eq!(
            name("6.12.99", Flavour::Cloud),
            Some("linux-image-6.12.99+deb12-cloud-amd64")
        );
        assert_eq!(name("6.12", Flavour::Rt), None);
        assert_eq!(name("5.10", Flavour::Cloud), None);
    }

    #[test]
    fn sources_are_ordered_by_version() {
        let offers = offers();
        let versions: Vec<&str> = sources(&offers)
            .iter()
            .map(|offer| offer.package.version.as_str())
            .collect();
        assert_eq!(versions, ["6.12.117-1", "7.2.13-1", "7.3~rc7-1~exp1"]);
    }
}
