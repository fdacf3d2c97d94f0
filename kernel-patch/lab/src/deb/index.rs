//! The index of a suite: stanzas of `Field: value` lines (`deb822(5)`), of which the lab needs
//! five.

use serde::{Deserialize, Serialize};

/// A package as an index lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Its size as a file.
    pub size_bytes: u64,
    /// Its checksum, which the suite's signature covers.
    pub sha256: String,
}

impl Package {
    /// The kernel series of the version: `6.12` of `6.12.117-1`, `7.3` of `7.3~rc7-1~exp1`.
    #[must_use]
    pub fn series(&self) -> Option<&str> {
        let (major, rest) = self.version.split_once('.')?;
        let minor = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let known = !major.is_empty() && major.chars().all(|c| c.is_ascii_digit()) && minor > 0;
        known.then(|| &self.version[..major.len() + 1 + minor])
    }
}

impl Package {
    /// The upstream part of the version: `6.12.117` of `6.12.117-1~deb12u1`.
    #[must_use]
    pub fn upstream(&self) -> &str {
        self.version
            .rsplit_once('-')
            .map_or(self.version.as_str(), |(upstream, _)| upstream)
    }
}

/// The packages of an index that `wanted` names. A stanza that lacks a field is left out: apt could
/// not get it either.
#[must_use]
pub fn parse_index(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Package> {
    text.split("\n\n")
        .filter_map(|stanza| parse_stanza(stanza, &wanted))
        .collect()
}

fn parse_stanza(stanza: &str, wanted: impl Fn(&str) -> bool) -> Option<Package> {
    // Lines that begin with a space continue the field before them, none of which the lab reads.
    let field = |name: &str| {
        let value = stanza
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let name = field("Package").filter(|name| wanted(name))?;
    Some(Package {
        name,
        version: field("Version")?,
        architecture: field("Architecture")?,
        size_bytes: field("Size")?.parse().ok()?,
        sha256: field("SHA256").filter(|hash| hash.len() == 64)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn stanza(name: &str, version: &str) -> String {
        format!(
            "Package: {name}\n\
                Version: {version}\n\
                Architecture: amd64\n\
                Description: x\n Size: 7\n .\n SHA256: no\n\
                Size: 42\n\
                SHA256: {HASH}\n"
        )
    }

    #[test]
    fn stanzas_are_read_and_continuation_lines_are_not_fields() {
        let text = [
            stanza("linux-source-7.3", "7.3~rc7-1~exp1"),
            stanza("bash", "5.2-1"),
        ]
        .join("\n");
        let found = parse_index(&text, |name| name.starts_with("linux-"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].size_bytes, 42);
        assert_eq!(found[0].sha256, HASH);
        assert_eq!(found[0].series(), Some("7.3"));
    }

    #[test]
    fn a_stanza_without_a_checksum_is_left_out() {
        let text = stanza("linux-source-7.3", "7.3-1").replace(HASH, "short");
        assert!(parse_index(&text, |_| true).is_empty());
    }

    #[test]
    fn series() {
        let package = |version: &str| Package {
            name: "linux-image-x".to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            size_bytes: 1,
            sha256: HASH.to_owned(),
        };
        assert_eq!(package("6.12.117-1~deb12u1").series(), Some("6.12"));
        assert_eq!(package("6.1.192-2").series(), Some("6.1"));
        assert_eq!(package("6.1.192-2").upstream(), "6.1.192");
        assert_eq!(package("7.3~rc7-1~exp1").upstream(), "7.3~rc7");
        assert_eq!(package("7-1").series(), None);
        assert_eq!(package("x.1").series(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fall(
            text in "\\PC{0,200}",
            lines in proptest::collection::vec("(Package|Size|SHA256): ?\\PC{0,9}", 0..8),
        ) {
            drop(parse_index(&text, |_| true));
            drop(parse_index(&lines.join("\n"), |_| true));
        }
    }
}
