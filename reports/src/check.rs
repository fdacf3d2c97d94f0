//! `report check`: every committed figure, computed again from the raw trials and compared.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::artefacts;
use crate::render::GENERATED;
use crate::splice::{self, FINDINGS};
use crate::store::Store;

/// A place where what is committed is not what the records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file, below the top of the workspace.
    pub file: String,
    /// The first line that differs, from 1.
    pub line: usize,
    /// What is there; nothing if the file, or the line, is missing.
    pub committed: Option<String>,
    /// What should be there; nothing if there should be no such file, or line.
    pub computed: Option<String>,
}

/// Compares everything that is made by `report render` and `report splice` below `root` (the top of
/// the workspace).
pub fn check(root: &Path) -> Result<Vec<Difference>> {
    let store = Store::read(root)?;
    let rendered = artefacts::all(&store)?;
    let mut differences = Vec::new();
    for (name, computed) in rendered.files() {
        let file = format!("{GENERATED}/{name}");
        let committed = read(&root.join(&file))?;
        differences.extend(first_difference(
            &file,
            committed.as_deref(),
            Some(&String::from_utf8_lossy(computed)),
        ));
    }
    let known: BTreeSet<&str> = rendered.files().map(|(name, _)| name).collect();
    for name in tree(&root.join(GENERATED))?
        .iter()
        .filter(|name| !known.contains(name.as_str()))
    {
        let file = format!("{GENERATED}/{name}");
        let committed = read(&root.join(&file))?;
        differences.extend(first_difference(&file, committed.as_deref(), None));
    }
    let committed = splice::read(root)?;
    differences.extend(first_difference(
        FINDINGS,
        committed.as_deref(),
        rendered.findings.as_deref(),
    ));
    Ok(differences)
}

fn first_difference(
    file: &str,
    committed: Option<&str>,
    computed: Option<&str>,
) -> Option<Difference> {
    if committed == computed {
        return None;
    }
    let mut there = committed.unwrap_or_default().split('\n');
    let mut should = computed.unwrap_or_default().split('\n');
    let mut line = 0;
    loop {
        line += 1;
        let (a, b) = (there.next(), should.next());
        if a != b || a.is_none() {
            return Some(Difference {
                file: file.to_owned(),
                line,
                committed: committed.and(a).map(str::to_owned),
                computed: computed.and(b).map(str::to_owned),
            });
        }
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other
            .map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned()))
            .with_context(|| format!("could not read {}", path.display())),
    }
}

/// Names of the files in a directory, sorted; none if it does not exist.
pub(crate) fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if dir.is_dir() {
        for entry in
            fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?
        {
            let entry = entry.with_context(|| format!("could not list {}", dir.display()))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Paths of all files below a directory, sorted; none if it does not exist.
pub(crate) fn tree(dir: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for name in list(dir)? {
        let path = dir.join(&name);
        match path.is_dir() {
            true => paths.extend(
                list(&path)?
                    .into_iter()
                    .map(|inner| format!("{name}/{inner}")),
            ),
            false => paths.push(name),
        }
    }
    Ok(paths)
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |text: &Option<String>| match text {
            None => "nothing".to_owned(),
            Some(text) => {
                let (committed, computed) = (self.committed.as_deref(), self.computed.as_deref());
                let alike = committed
                    .unwrap_or_default()
                    .chars()
                    .zip(computed.unwrap_or_default().chars())
                    .take_while(|(a, b)| a == b)
                    .count();
                let around: String = text
                    .chars()
                    .skip(alike.saturating_sub(30))
                    .take(80)
                    .collect();
                format!("\"{around}\"")
            }
        };
        write!(
            f,
            "{}:{}: committed {}, computed {}",
            self.file,
            self.line,
            shown(&self.committed),
            shown(&self.computed)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_edited_digit_is_named() {
        let found = first_difference("t.md", Some("a\nb 13 c\n"), Some("a\nb 12 c\n")).unwrap();
        assert_eq!(found.line, 2);
        assert_eq!(
            found.to_string(),
            "t.md:2: committed \"b 13 c\", computed \"b 12 c\""
        );
        assert_eq!(first_difference("t.md", Some("a\n"), Some("a\n")), None);
    }

    #[test]
    fn files_too_many_and_too_few_are_differences() {
        let missing = first_difference("t.md", None, Some("a\n")).unwrap();
        assert_eq!((missing.line, missing.committed), (1, None));
        let surplus = first_difference("t.md", Some("a\n"), None).unwrap();
        assert_eq!((surplus.line, surplus.computed), (1, None));
    }
}
