//! The arguments of coreutils' `timeout`, for a launcher that is called by that name.
//!
//! What is different: it ends everything that was started, not one process group, and the program
//! is started in the caller's group (as with `--foreground`, which therefore changes nothing).

use std::ffi::OsString;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use crate::duration::{parse_count, parse_duration};
use crate::error::Usage;
use crate::options::Options;

/// Reads what stands after the name `timeout`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Usage> {
    let mut options = Options {
        bare: true,
        wait_main: true,
        as_timeout: true,
        ..Options::default()
    };
    let mut signal = libc::SIGTERM;
    let mut kill_after = None;
    let mut words = args.into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.to_string_lossy().starts_with('-')) {
        let text = word.to_string_lossy().into_owned();
        let (name, glued) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ if !text.starts_with("--") && text.len() > 2 && "sk".contains(&text[1..2]) => {
                (&text[..2], Some(text[2..].to_owned()))
            }
            _ => (text.as_str(), None),
        };
        let mut value = |option| match &glued {
            Some(value) => Ok(value.clone()),
            None => words
                .next()
                .map(|word| word.to_string_lossy().into_owned())
                .ok_or(Usage::NoValue(option)),
        };
        match name {
            "--" => break,
            "-s" | "--signal" => {
                let name = value("signal")?;
                signal = signal_of(&name).ok_or_else(|| wrong("signal", &name))?;
            }
            "-k" | "--kill-after" => {
                let text = value("kill-after")?;
                let time = parse_duration(&text).ok_or_else(|| wrong("kill-after", &text))?;
                kill_after = Some(time);
            }
            "-p" | "--preserve-status" => options.preserve_status = true,
            "-f" | "--foreground" => {}
            "-v" | "--verbose" => options.verbose = true,
            _ => return Err(Usage::Unknown(word)),
        }
    }
    let time = words.next().ok_or(Usage::NoProgram)?;
    let text = time.to_string_lossy();
    let time = parse_duration(&text).ok_or_else(|| wrong("DURATION", &text))?;
    options.timeout = (!time.is_zero()).then_some(time);
    options.signal = signal;
    // Without -k timeout(1) sends its signal and waits for as long as it takes.
    options.grace = match kill_after {
        _ if signal == libc::SIGKILL => None,
        Some(time) if !time.is_zero() => Some(time),
        _ => Some(Duration::from_secs(u64::from(u32::MAX))),
    };
    options.program.extend(words);
    if options.program.is_empty() {
        return Err(Usage::NoProgram);
    }
    Ok(options)
}

/// A signal by name, with or without `SIG`, or by number.
fn signal_of(name: &str) -> Option<i32> {
    if let Some(number) = parse_count(name) {
        return i32::try_from(number).ok().filter(|n| (1..=64).contains(n));
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    format!("SIG{name}")
        .parse::<Signal>()
        .ok()
        .map(|signal| signal as i32)
}

fn wrong(option: &'static str, value: &str) -> Usage {
    Usage::Value {
        option,
        value: value.into(),
        expected: "as timeout(1)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Usage> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn as_coreutils_has_them() {
        let options = parsed("-k 2 --signal=INT -p 1.5 sleep 9 -s x").unwrap();
        assert_eq!(options.timeout, Some(Duration::from_millis(1_500)));
        assert_eq!(options.grace, Some(Duration::from_secs(2)));
        assert_eq!(options.signal, libc::SIGINT);
        assert!(options.preserve_status && options.wait_main && options.bare);
        assert_eq!(options.program, ["sleep", "9", "-s", "x"]);
        assert_eq!(parsed("-s9 1 true").unwrap().grace, None);
        assert_eq!(parsed("-sKILL 1 true").unwrap().signal, libc::SIGKILL);
        assert_eq!(parsed("0 true").unwrap().timeout, None);
    }

    #[test]
    fn mistakes() {
        for line in [
            "-s NONE 1 true",
            "x true",
            "1",
            "-z 1 true",
            "-k",
            "-s 65 1 x",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
