//! A script from a file in the place of a scenario.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use actor::text::{MAX_BYTES, Named};
use harness::expect::Plane;

use super::exit::Failure;
use crate::{Scenario, Scripted};

/// The script with the name of its file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<(String, Named), Failure> {
    let stdin = path == Path::new("-");
    let shown = match stdin {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let wrong = |e: &dyn std::fmt::Display| Failure::usage(format!("--script {shown}: {e}"));
    let bytes = match stdin {
        true => limited(io::stdin()),
        false => File::open(path).and_then(limited),
    };
    let bytes = bytes.map_err(|e| wrong(&e))?;
    let script = Named::read(&bytes).map_err(|e| wrong(&e))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    let name = stem.filter(|_| !stdin).unwrap_or("stdin".into());
    Ok((plain(&name), script))
}

/// As much as is needed to know that it is too long.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).map_err(io::Error::other)? + 1;
    from.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// In the spelling of ids.
fn plain(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    name.chars().take(40).map(plain).collect()
}

/// The scenario that the script makes, among those that are watched and those that are killed.
pub(super) fn planes(
    name: &str,
    script: &Named,
    kill_asked: bool,
) -> (Vec<&'static dyn Scenario>, Vec<&'static dyn Scenario>) {
    let scenario = Scripted::leaked(name, script.script().clone());
    let has = |plane| scenario.spec().planes.contains(&plane);
    let killed = has(Plane::Kill) && (!has(Plane::Detect) || kill_asked);
    let one = |wanted: bool| wanted.then_some(scenario).into_iter().collect();
    (one(has(Plane::Detect)), one(killed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_the_name_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("My tree.1.txt");
        std::fs::write(&path, "main: live 1ms").unwrap();
        let (name, script) = read(&path).map_err(|f| f.error).unwrap();
        assert_eq!(name, "my-tree-1");
        let (watched, killed) = planes(&name, &script, true);
        assert_eq!(
            (watched[0].spec().id, killed.len()),
            ("script-my-tree-1", 0)
        );
    }

    #[test]
    fn a_script_that_lives_for_ever_is_killed() {
        let script: Named = "main: ready; live forever".parse().unwrap();
        let (watched, killed) = planes("x", &script, false);
        assert_eq!((watched.len(), killed.len()), (0, 1));
        let script: Named = "main: ready; live 1ms".parse().unwrap();
        let count = |kill| {
            let (watched, killed) = planes("x", &script, kill);
            (watched.len(), killed.len())
        };
        assert_eq!((count(false), count(true)), ((1, 0), (1, 1)));
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad");
        let error = || read(&path).unwrap_err().error.to_string();
        assert!(error().contains("No such file"), "{}", error());
        std::fs::write(&path, "main:\n  jump").unwrap();
        assert!(
            error().contains("bad: line 2, column 3: expected an operation"),
            "{}",
            error()
        );
        std::fs::write(&path, vec![b' '; 10 << 20]).unwrap();
        assert!(error().contains("at most 65536 are read"), "{}", error());
    }
}
