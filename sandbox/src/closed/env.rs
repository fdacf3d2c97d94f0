//! The environment by a list of what may pass: tokens and agents' sockets are not on it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What passes: how to print, in which language and time zone, and where programs are.
pub(crate) const PASSED: &[&str] = &[
    "PATH",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
    "LANG",
    "LANGUAGE",
    "TZ",
];

/// The strings of the program's environment. `asked`: `NAME` passes on, `NAME=VALUE` sets.
pub(crate) fn of(
    vars: impl Iterator<Item = (OsString, OsString)>,
    home: &Path,
    asked: &[OsString],
) -> Vec<CString> {
    let mut passed: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &OsStr, value: &OsStr| {
        passed.retain(|(known, _)| known != name);
        passed.push((name.to_owned(), value.to_owned()));
    };
    let vars: Vec<_> = vars.collect();
    for (name, value) in &vars {
        let listed = PASSED.iter().any(|known| *known == name);
        if listed || name.as_bytes().starts_with(b"LC_") {
            set(name, value);
        }
    }
    set(OsStr::new("HOME"), home.as_os_str());
    for word in asked {
        let bytes = word.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => set(
                OsStr::from_bytes(&bytes[..at]),
                OsStr::from_bytes(&bytes[at + 1..]),
            ),
            None => {
                if let Some((name, value)) = vars.iter().find(|(name, _)| name == word) {
                    set(name, value);
                }
            }
        }
    }
    let strings = passed.iter().filter_map(|(name, value)| {
        // A string with a zero byte cannot come from an environment.
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    });
    strings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_or_asked_for_passes() {
        let vars = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("SSH_AUTH_SOCK", "/run/x"),
            ("HOME", "/root"),
            ("TOKEN", "secret"),
            ("LD_PRELOAD", "/x.so"),
        ];
        let vars = vars.map(|(name, value)| (name.into(), value.into()));
        let asked = ["TOKEN", "A=b=c", "PATH=/usr/bin", "ABSENT"].map(OsString::from);
        let env = of(vars.into_iter(), Path::new("/home/x"), &asked);
        let mut env: Vec<_> = env.iter().map(|line| line.to_str().unwrap()).collect();
        env.sort_unstable();
        let expected = [
            "A=b=c",
            "HOME=/home/x",
            "LC_ALL=C",
            "PATH=/usr/bin",
            "TOKEN=secret",
        ];
        assert_eq!(env, expected);
    }
}
