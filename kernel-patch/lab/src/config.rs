//! Readable kernel configurations: `tinyconfig`, then fragments, then a check that nothing was
//! dropped on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use thiserror::Error;

/// A fragment: symbols and the values that they must end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The file's name without `.config`.
    pub name: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One symbol of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Such as `CONFIG_CGROUPS`.
    pub symbol: String,
    /// `y`, `n`, a number or a string in quotes; modules are not built.
    pub value: String,
    /// Whether a tree may lack the symbol: the line says why.
    pub optional: bool,
}

/// A fragment that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{fragment}.config, line {number}: not `CONFIG_NAME=value` or `# CONFIG_NAME is not set`: \
        {text:?}"
)]
pub struct BadLine {
    fragment: String,
    number: usize,
    text: String,
}

/// Symbols whose final values are not those of the fragments.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the tree does not take {}; its configuration has {}. A symbol that only some trees have \
    is marked `# optional: why` in the fragment", wanted.join(", "), found.join(", "))]
pub struct NotTaken {
    /// The values in the fragments.
    pub wanted: Vec<String>,
    /// The final values.
    pub found: Vec<String>,
}

impl Fragment {
    /// Reads the text of a fragment.
    ///
    /// # Errors
    /// [`BadLine`] for the first line that is neither a symbol, a comment nor empty.
    pub fn parse(name: &str, text: &str) -> Result<Self, BadLine> {
        let mut lines = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            let raw = raw.trim();
            if let Some(symbol) = raw
                .strip_prefix("# ")
                .and_then(|rest| rest.strip_suffix(" is not set"))
            {
                lines.push(Line {
                    symbol: symbol.to_owned(),
                    value: "n".to_owned(),
                    optional: false,
                });
                continue;
            }
            if raw.is_empty() || raw.starts_with('#') {
                continue;
            }
            let (setting, comment) = raw
                .split_once(" #")
                .map_or((raw, ""), |(a, b)| (a.trim_end(), b.trim()));
            let parsed = setting.split_once('=').filter(|(symbol, value)| {
                let known = |c: char| {
                    c.is_ascii_uppercase()
                        || c.is_ascii_digit()
                        || c == '_'
                        || c.is_ascii_lowercase()
                };
                symbol
                    .strip_prefix("CONFIG_")
                    .is_some_and(|rest| !rest.is_empty() && rest.chars().all(known))
                    && !value.is_empty()
                    && *value != "m"
            });
            let Some((symbol, value)) = parsed else {
                return Err(BadLine {
                    fragment: name.to_owned(),
                    number: index + 1,
                    text: raw.to_owned(),
                });
            };
            lines.push(Line {
                symbol: symbol.to_owned(),
                value: value.to_owned(),
                optional: comment.starts_with("optional: "),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            lines,
        })
    }

    /// Reads `NAME.config` in `dir`.
    ///
    /// # Errors
    /// When there is none, with the names of those that there are, or it cannot be read.
    pub fn load(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(format!("{name}.config"));
        let Ok(text) = fs::read_to_string(&path) else {
            let mut names: Vec<String> = fs::read_dir(dir)
                .with_context(|| format!("cannot list {}", dir.display()))?
                .filter_map(Result::ok)
                .filter_map(|entry| {
                    Some(
                        entry
                            .file_name()
                            .to_str()?
                            .strip_suffix(".config")?
                            .to_owned(),
                    )
                })
                .collect();
            names.sort();
            bail!(
                "no configuration is called {name:?}; there are: {}",
                names.join(", ")
            );
        };
        Ok(Self::parse(name, &text)?)
    }
}

/// The variant that is a program: its architecture is `um`, not the machine's.
pub const UM: &str = "um";

/// Whether the variants make a kernel that is a program.
#[must_use]
pub fn is_um(variants: &[String]) -> bool {
    variants.iter().any(|name| name == UM)
}

/// The fragments of a build: always `small`, then HZ 250 unless the variants name another or the
/// architecture has but one, then the variants.
///
/// # Errors
/// When one cannot be read.
pub fn fragments(dir: &Path, variants: &[String]) -> Result<Vec<Fragment>> {
    let mut names = vec!["small"];
    if !is_um(variants) && !variants.iter().any(|name| name.starts_with("hz")) {
        names.push("hz250");
    }
    names.extend(
        variants
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "small"),
    );
    names
        .into_iter()
        .map(|name| Fragment::load(dir, name))
        .collect()
}

/// The name of a configuration: its variants in a row, `small` when there are none.
#[must_use]
pub fn name(variants: &[String]) -> String {
    let named: Vec<&str> = variants
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "small")
        .collect();
    if named.is_empty() {
        "small".to_owned()
    } else {
        named.join("-")
    }
}

/// What the fragments want together; a later one wins.
fn wanted(fragments: &[Fragment]) -> BTreeMap<&str, &Line> {
    fragments
        .iter()
        .flat_map(|f| &f.lines)
        .map(|line| (line.symbol.as_str(), line))
        .collect()
}

/// `base` (the text of a `.config`) with the fragments' lines after it, as Kconfig reads it: the
/// last word wins.
#[must_use]
pub fn merge(base: &str, fragments: &[Fragment]) -> String {
    let wanted = wanted(fragments);
    let mentions = |line: &str| {
        let symbol = line
            .strip_prefix("# ")
            .and_then(|rest| rest.strip_suffix(" is not set"))
            .or_else(|| Some(line.split_once('=')?.0));
        symbol.is_some_and(|symbol| wanted.contains_key(symbol))
    };
    let mut text: String = base
        .lines()
        .filter(|line| !mentions(line))
        .fold(String::new(), |text, line| text + line + "\n");
    for (symbol, line) in wanted {
        text += &match line.value.as_str() {
            "n" => format!("# {symbol} is not set\n"),
            value => format!("{symbol}={value}\n"),
        };
    }
    text
}

/// Checks that the finished configuration has what the fragments want.
///
/// # Errors
/// [`NotTaken`] with every symbol that it has not.
pub fn check(finished: &str, fragments: &[Fragment]) -> Result<(), NotTaken> {
    let has: BTreeMap<&str, &str> = finished
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let mut error = NotTaken {
        wanted: Vec::new(),
        found: Vec::new(),
    };
    for (symbol, line) in wanted(fragments) {
        let value = has.get(symbol).copied().unwrap_or("n");
        if value != line.value && !line.optional {
            error.wanted.push(format!("{symbol}={}", line.value));
            error.found.push(format!("{symbol}={value}"));
        }
    }
    if error.wanted.is_empty() {
        Ok(())
    } else {
        Err(error)
    }
}

/// HZ and the preemption model of a finished configuration, for records and tables.
#[must_use]
pub fn ticks(finished: &str) -> String {
    let has = |symbol: &str| {
        finished
            .lines()
            .any(|line| line.strip_prefix(symbol) == Some("=y"))
    };
    let hz = finished
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_HZ="))
        .unwrap_or("?");
    let models = [
        ("CONFIG_PREEMPT_RT", "PREEMPT_RT"),
        ("CONFIG_PREEMPT_DYNAMIC", "PREEMPT_DYNAMIC"),
        ("CONFIG_PREEMPT_LAZY", "PREEMPT_LAZY"),
        ("CONFIG_PREEMPT_VOLUNTARY", "PREEMPT_VOLUNTARY"),
        ("CONFIG_PREEMPT_NONE", "PREEMPT_NONE"),
        ("CONFIG_PREEMPT", "PREEMPT"),
    ];
    let model = models
        .iter()
        .find(|(symbol, _)| has(symbol))
        .map_or("?", |(_, name)| name);
    format!("HZ={hz} {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(text: &str) -> Fragment {
        Fragment::parse("test", text).unwrap()
    }

    #[test]
    fn lines_are_read_with_their_exceptions() {
        let read = fragment(
            "# why\n\
                CONFIG_A=y\n\n\
                CONFIG_B=n # optional: before 6.1\n\
                # CONFIG_C is not set\n\
                CONFIG_D=\"x\"\n",
        );
        let short: Vec<(&str, &str, bool)> = read
            .lines
            .iter()
            .map(|l| (l.symbol.as_str(), l.value.as_str(), l.optional))
            .collect();
        assert_eq!(
            short,
            [
                ("CONFIG_A", "y", false),
                ("CONFIG_B", "n", true),
                ("CONFIG_C", "n", false),
                ("CONFIG_D", "\"x\"", false)
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for text in ["CONFIG_A", "A=y", "CONFIG_A=m", "CONFIG_=y", "CONFIG_A ="] {
            let error = Fragment::parse("test", &format!("# fine\n{text}\n")).unwrap_err();
            assert!(error.to_string().contains("test.config, line 2"), "{error}");
        }
    }

    #[test]
    fn a_later_fragment_wins_and_replaces_the_base() {
        let merged = merge(
            "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_HZ=100\n",
            &[
                fragment("CONFIG_B=y"),
                fragment("CONFIG_B=n\nCONFIG_HZ=250"),
            ],
        );
        assert_eq!(merged, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_HZ=250\n");
    }

    #[test]
    fn a_dropped_symbol_is_an_error_and_an_optional_one_is_not() {
        let wants = [fragment(
            "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y # optional: new\n# CONFIG_D is not set\n",
        )];
        assert_eq!(check("CONFIG_A=y\nCONFIG_B=y\n", &wants), Ok(()));
        let error = check("CONFIG_A=y\nCONFIG_D=y\n", &wants).unwrap_err();
        assert_eq!(error.wanted, ["CONFIG_B=y", "CONFIG_D=n"]);
    }

    #[test]
    fn ticks_are_named() {
        assert_eq!(
            ticks("CONFIG_HZ=250\nCONFIG_PREEMPT_LAZY=y\n"),
            "HZ=250 PREEMPT_LAZY"
        );
        assert_eq!(
            ticks("CONFIG_PREEMPT_RT=y\nCONFIG_PREEMPT=y\nCONFIG_HZ=1000\n"),
            "HZ=1000 PREEMPT_RT"
        );
        assert_eq!(ticks(""), "HZ=? ?");
    }

    #[test]
    fn every_fragment_of_the_project_is_readable() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let mut seen = 0;
        for entry in fs::read_dir(&dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(name) = name.strip_suffix(".config") {
                assert!(
                    !Fragment::load(&dir, name).unwrap().lines.is_empty(),
                    "{name}"
                );
                seen += 1;
            }
        }
        assert!(seen >= 10, "{seen}");
    }
}
