//! The options of `allgone run`: one table, from which arguments are parsed, and help, man page and
//! completions are made.
//!
//! They are parsed here and not by clap, whose command takes a tenth of the time of a whole run to
//! build. clap builds the same table for everything that may take its time ([`crate::help`]).

use std::ffi::{CString, OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use allgone::sys::spawn::Credentials;
use nix::libc;

use crate::closed::{self, Closed};
use crate::duration::{parse_bytes, parse_count, parse_duration, parse_thousandths};
use crate::error::Usage;
pub use crate::opt::Opt;
use crate::opt::{flag, valued};
use crate::place::Above;
use crate::tier::Tier;
use crate::userrange;

/// All of them, in the order in which help shows them.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().chain(closed::OPTIONS)
}

/// Those about the life of a run.
pub const OPTIONS: &[Opt] = &[
    Opt {
        short: Some('t'),
        ..valued(
            "timeout",
            "TIME",
            "End everything after this time: 30s, 500ms, 2m (exit code 124)",
        )
    },
    valued(
        "grace",
        "TIME",
        "Send SIGTERM to all first, and SIGKILL this much later",
    ),
    valued(
        "cpu-time",
        "TIME",
        "End everything when all of it has used this much processor time",
    ),
    valued(
        "lease",
        "FD",
        "End everything when the other end of this descriptor is closed",
    ),
    Opt {
        values: &["all", "main"],
        ..valued(
            "wait",
            "WHOM",
            "Over with the last process (default), or with the main one: the rest is killed",
        )
    },
    flag(
        "bare",
        None,
        "Only a PID namespace and a cgroup: /tmp, /proc and host name stay the caller's",
    ),
    valued(
        "pids",
        "N",
        "At most so many processes and threads at a time, zombies included (pids.max)",
    ),
    valued(
        "memory",
        "BYTES",
        "No more memory for all of it (memory.max)",
    ),
    valued(
        "cpu",
        "N",
        "No more processor time than N processors have: 0.5, 2 (cpu.max)",
    ),
    valued(
        "fsize",
        "BYTES",
        "No file may grow beyond this (RLIMIT_FSIZE)",
    ),
    valued(
        "nofile",
        "N",
        "At most so many descriptors for each process (RLIMIT_NOFILE)",
    ),
    valued(
        "report",
        "FILE|FD",
        "Write what happened as JSON, to a file or to an open descriptor",
    ),
    valued(
        "events",
        "FD",
        "Write a JSON line when it has started, when main has ended, when all has",
    ),
    Opt {
        values: Tier::NAMES,
        ..valued(
            "tier",
            "TIER",
            "Run by this mechanism; otherwise by the strongest that the machine allows",
        )
    },
    Opt {
        values: Tier::NAMES,
        ..valued("require", "TIER", "Refuse to run by any weaker mechanism")
    },
    valued(
        "cgroup",
        "auto|systemd|PATH",
        "Make its cgroup in this process's own, in a scope of systemd's, or in this directory",
    ),
    valued(
        "user",
        "UID[:GID]",
        "Run as this user, by its number, without capabilities or a way to get any",
    ),
    valued(
        "user-range",
        "FIRST-LAST|auto",
        "Run as a user that no other run has at the time, of these numbers",
    ),
    flag(
        "best-effort",
        None,
        "Go on without what cannot be had here, and say so in the report",
    ),
    flag(
        "verbose",
        Some('v'),
        "Say on standard error what was done, and how it ended",
    ),
    flag(
        "dry-run",
        None,
        "Print the steps and what each would do; start nothing",
    ),
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--grace`.
    pub grace: Option<Duration>,
    /// What is sent to all before the grace.
    pub signal: i32,
    /// `--cpu-time`.
    pub cpu_time: Option<Duration>,
    /// `--lease`.
    pub lease: Option<i32>,
    /// `--wait main`.
    pub wait_main: bool,
    /// `--bare`.
    pub bare: bool,
    /// `--pids`.
    pub pids: Option<u64>,
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// `--cpu`, in thousandths of a processor.
    pub cpu_thousandths: Option<u64>,
    /// `--fsize`, in bytes.
    pub fsize: Option<u64>,
    /// `--nofile`.
    pub nofile: Option<u64>,
    /// `--report`.
    pub report: Option<OsString>,
    /// `--events`.
    pub events: Option<i32>,
    /// `--tier`.
    pub tier: Option<Tier>,
    /// `--require`.
    pub require: Option<Tier>,
    /// `--best-effort`.
    pub best_effort: bool,
    /// `--verbose`.
    pub verbose: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// The exit code is the program's also when it was ended (`timeout --preserve-status`).
    pub preserve_status: bool,
    /// As timeout(1): exit code 137 when SIGKILL was needed; and a signal to end that is passed on
    /// is followed by SIGKILL when the grace is over.
    pub as_timeout: bool,
    /// `--cgroup`.
    pub cgroup: Above,
    /// The user that the program becomes.
    pub user: Option<Credentials>,
    /// `--user-range`.
    pub user_range: Option<RangeInclusive<u32>>,
    /// What the program has of a library's caller instead of the launcher.
    pub hosted: Option<Hosted>,
    /// `--closed`, and the options that mean it.
    pub closed: Option<Closed>,
    /// Program and arguments.
    pub program: Vec<OsString>,
}

/// What the program of a library's caller has that one of the command has not: an environment that
/// is not the launcher's, no blocked signal, a session of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosted {
    /// The environment, complete: `NAME=VALUE`.
    pub env: Vec<CString>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: None,
            grace: None,
            signal: libc::SIGTERM,
            cpu_time: None,
            lease: None,
            wait_main: false,
            bare: false,
            pids: None,
            memory: None,
            cpu_thousandths: None,
            fsize: None,
            nofile: None,
            report: None,
            events: None,
            tier: None,
            require: None,
            best_effort: false,
            verbose: false,
            dry_run: false,
            preserve_status: false,
            as_timeout: false,
            cgroup: Above::Own,
            user: None,
            user_range: None,
            hosted: None,
            closed: None,
            program: Vec::new(),
        }
    }
}

/// Reads the arguments after `run`. Options end at `--` or at the first word that is none.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Usage> {
    check(read(args)?)
}

/// As [`parse`], for a library's caller.
pub(crate) fn parse_hosted(
    args: impl IntoIterator<Item = OsString>,
    hosted: Hosted,
) -> Result<Options, Usage> {
    let hosted = Some(hosted);
    check(Options {
        hosted,
        ..read(args)?
    })
}

fn read(args: impl IntoIterator<Item = OsString>) -> Result<Options, Usage> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            options.program.extend(args);
            break;
        }
        if !bytes.starts_with(b"-") || bytes == b"-" {
            options.program.push(arg);
            options.program.extend(args);
            break;
        }
        let text = arg.to_str().ok_or_else(|| Usage::Unknown(arg.clone()))?;
        let (option, mut value) = find(text).ok_or_else(|| Usage::Unknown(arg.clone()))?;
        if option.value.is_some() && value.is_none() {
            value = args.next();
        }
        match (option.value, &value) {
            (Some(_), None) => return Err(Usage::NoValue(option.long)),
            (None, Some(_)) => return Err(Usage::Unknown(arg)),
            _ => {}
        }
        set(&mut options, option, value.as_deref().unwrap_or_default())?;
    }
    Ok(options)
}

/// The option that `text` is, with the value that stands in the same word.
fn find(text: &str) -> Option<(&'static Opt, Option<OsString>)> {
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.into())),
            None => (long, None),
        };
        return Some((all().find(|option| option.long == name)?, value));
    }
    let mut letters = text.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let option = all().find(|option| option.short == Some(letter))?;
    let rest = letters.as_str();
    Some((option, (!rest.is_empty()).then(|| rest.into())))
}

fn set(options: &mut Options, option: &'static Opt, value: &OsStr) -> Result<(), Usage> {
    let wrong = || Usage::Value {
        option: option.long,
        value: value.to_owned(),
        expected: option.help,
    };
    if !option.values.is_empty() && !option.values.iter().any(|known| *known == value) {
        return Err(wrong());
    }
    if closed::OPTIONS
        .iter()
        .any(|known| known.long == option.long)
    {
        let closed = options.closed.get_or_insert_default();
        return closed.set(option.long, value).ok_or_else(wrong);
    }
    let text = value.to_str().ok_or_else(wrong)?;
    let time = || {
        parse_duration(text)
            .filter(|time| !time.is_zero())
            .ok_or_else(wrong)
    };
    let number = || {
        parse_count(text)
            .filter(|number| *number > 0)
            .ok_or_else(wrong)
    };
    let descriptor = || text.parse::<u16>().map(i32::from).map_err(|_| wrong());
    match option.long {
        "timeout" => options.timeout = Some(time()?),
        "grace" => options.grace = Some(parse_duration(text).ok_or_else(wrong)?),
        "cpu-time" => options.cpu_time = Some(time()?),
        "lease" => options.lease = Some(descriptor()?),
        "wait" => options.wait_main = text == "main",
        "bare" => options.bare = true,
        "pids" => options.pids = Some(number()?),
        "memory" => {
            let bytes = parse_bytes(text).filter(|bytes| *bytes > 0);
            options.memory = Some(bytes.ok_or_else(wrong)?);
        }
        // The kernel counts no less than a millisecond in a tenth of a second.
        "cpu" => {
            let cpu = parse_thousandths(text).filter(|cpu| *cpu >= 10);
            options.cpu_thousandths = Some(cpu.ok_or_else(wrong)?);
        }
        "fsize" => options.fsize = Some(parse_bytes(text).ok_or_else(wrong)?),
        "nofile" => options.nofile = Some(number()?),
        "report" if !text.is_empty() => options.report = Some(value.to_owned()),
        "events" => options.events = Some(descriptor()?),
        "tier" => options.tier = Tier::named(text),
        "require" => options.require = Tier::named(text),
        "cgroup" => options.cgroup = Above::parse(text).ok_or_else(wrong)?,
        "user-range" => {
            options.user_range = Some(userrange::parse(text).ok_or_else(wrong)?);
        }
        "user" => options.user = Some(userrange::parse_user(text).ok_or_else(wrong)?),
        "best-effort" => options.best_effort = true,
        "verbose" => options.verbose = true,
        "dry-run" => options.dry_run = true,
        _ => return Err(wrong()),
    }
    Ok(())
}

/// What contradicts itself, or lacks something.
fn check(mut options: Options) -> Result<Options, Usage> {
    if let Some(closed) = &options.closed {
        if options.bare {
            return Err(Usage::Contradiction("bare", "closed"));
        }
        let other = options.tier.is_some_and(|tier| tier != Tier::Namespace);
        if other && !options.best_effort {
            return Err(Usage::Contradiction("tier", "closed"));
        }
        closed.check()?;
        // Landlock closes off less, so it has to be asked for.
        if !options.best_effort {
            options.tier = Some(Tier::Namespace);
        }
    }
    let ends = options.timeout.is_some() || options.cpu_time.is_some() || options.lease.is_some();
    // A library's caller can ask for the end at any time.
    if options.grace.is_some() && !ends && options.hosted.is_none() {
        return Err(Usage::Pointless {
            option: "grace",
            without: "--timeout, --cpu-time or --lease",
        });
    }
    if options.user.is_some() && options.user_range.is_some() {
        return Err(Usage::Contradiction("user", "user-range"));
    }
    if options.require.is_some() && options.best_effort {
        return Err(Usage::Contradiction("require", "best-effort"));
    }
    if Tier::candidates(options.tier, options.require)
        .next()
        .is_none()
    {
        return Err(Usage::Contradiction("tier", "require"));
    }
    if options.program.first().is_none_or(|name| name.is_empty()) {
        return Err(Usage::NoProgram);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Usage> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn options_end_where_the_program_begins() {
        let options = parsed("-t 5 --wait=main --bare -v -- sh -c --timeout").unwrap();
        assert_eq!(options.timeout, Some(Duration::from_secs(5)));
        assert!(options.wait_main && options.bare && options.verbose);
        assert_eq!(options.program, ["sh", "-c", "--timeout"]);
        assert_eq!(
            parsed("-t5 true --bare").unwrap().program,
            ["true", "--bare"]
        );
        assert!(!parsed("true --bare").unwrap().bare);
    }

    #[test]
    fn every_option_of_the_table_is_understood() {
        for option in all() {
            let value = match option.value {
                None => "",
                Some(_) if !option.values.is_empty() => option.values[0],
                Some(_) if option.long == "cgroup" => "/x",
                Some(_) if option.long == "user-range" => "5000-5009",
                Some("PATH=DEST") => "/3=/4",
                Some("CIDR" | "CIDR[:PORT]") => "10.0.0.0/8",
                Some("BYTES") => "3M",
                Some(_) => "3",
            };
            let mut options = Options::default();
            assert_eq!(
                set(&mut options, option, OsStr::new(value)),
                Ok(()),
                "{}",
                option.long
            );
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (line, mistake) in [
            ("--no-such true", "unknown option"),
            ("--timeout", "needs a value"),
            ("--timeout 0 true", "--timeout"),
            ("--timeout 1w true", "--timeout"),
            ("--wait none true", "--wait"),
            ("--bare=1 true", "unknown option"),
            ("--grace 1 true", "--grace"),
            ("--nofile 0 true", "--nofile"),
            ("--pids 0 true", "--pids"),
            ("--memory 0 true", "--memory"),
            ("--cpu 0.001 true", "--cpu"),
            ("--require namespace --best-effort true", "contradict"),
            ("--require namespace --tier traced true", "contradict"),
            ("--tier bubblewrap true", "--tier"),
            ("--user root true", "--user"),
            ("--cgroup here true", "--cgroup"),
            ("--user-range 9-8 true", "--user-range"),
            ("--user 1 --user-range auto true", "contradict"),
            ("--user 1:4294967295 true", "--user"),
            ("--closed --bare true", "contradict"),
            ("--ro /x --tier traced true", "contradict"),
            ("--preset nobody true", "--preset"),
            ("--net wide true", "--net"),
            ("--ro= true", "--ro"),
            ("--bare", "no program"),
            ("--bare --", "no program"),
        ] {
            let told = parsed(line).unwrap_err().to_string();
            assert!(told.contains(mistake), "{line}: {told}");
        }
    }
}
