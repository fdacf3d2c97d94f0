//! The arguments of an actor.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use allgone::param::{FOREVER, parse_ns};

use super::{Failure, USAGE_ERROR};
use crate::play::Again;
use crate::text::{WORDS, usage};

/// The environment variable that names a file to say "ready" in.
const READY_VARIABLE: &str = "ACTOR_READY";

/// How long any process of a tree may live, unless the arguments say otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the arguments are written.
pub const USAGE: &str = "\
Usage: actor [OPTIONS] SCRIPT
       actor [OPTIONS] --file PATH

Plays a script: a tree of processes that does what the script says. For example:
  actor 'main: fork daemon; daemon: setsid; await-parent; ready; live 2s'

Options:
  --file PATH        read the script from a file; - is standard input
  --print            check the script, print it in its one form, and play nothing
  --deadline TIME    end each process of the tree after this time [default: 60s; `forever` is none]
  --ready-file PATH  say \"ready\" by writing READY into this file, which is made
                     [default: the environment variable ACTOR_READY]
  --ready-fd N       say \"ready\" by writing READY to this inherited descriptor
  --ledger-fd N      stamp births and exits into the ledger on this inherited descriptor
  --given-fd N       the inherited descriptor that `read-given` and `become-other` use
  --script-fd N      read the script as checked JSON from this inherited descriptor; then there is
                     no deadline unless one is given
  --help             print this text
";

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Asked {
    Play(Play),
    Print(Source),
    Help,
}

/// What is to be played, and how.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) source: Source,
    /// `None`: none.
    pub(super) deadline: Option<Duration>,
    pub(super) ready: Option<Ready>,
    pub(super) ledger: Option<RawFd>,
    pub(super) given: Option<RawFd>,
    /// The process has executed the program: where it goes on.
    pub(super) again: Option<Again>,
}

/// Where the script is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Text(OsString),
    File(PathBuf),
    Stdin,
    Json(RawFd),
}

/// Where "ready" is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    File(PathBuf),
    Descriptor(RawFd),
}

#[derive(Default)]
struct Draft {
    source: Option<Source>,
    deadline: Option<u64>,
    ready: Option<Ready>,
    ledger: Option<RawFd>,
    given: Option<RawFd>,
    again: Option<Again>,
    print: bool,
}

/// Understands the words after `argv[0]`.
pub(super) fn parse(words: impl Iterator<Item = OsString>) -> Result<Asked, Failure> {
    let mut words = words;
    let mut draft = Draft::default();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if !bytes.starts_with(b"--") {
            set("a script", &mut draft.source, Source::Text(word))?;
            continue;
        }
        // `--option=value` is `--option value`.
        let (name, inline) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = || {
            let value = inline.map(OsStr::to_owned).or_else(|| words.next());
            value.ok_or_else(|| usage_error(format!("{name} needs a value")))
        };
        match name.as_str() {
            "--help" if inline.is_none() => return Ok(Asked::Help),
            "--print" if inline.is_none() => draft.print = true,
            "--file" => {
                let path = value()?;
                let source = match path.as_bytes() {
                    b"-" => Source::Stdin,
                    _ => Source::File(path.into()),
                };
                set("a script", &mut draft.source, source)?;
            }
            "--script-fd" => {
                let fd = descriptor(&name, &value()?)?;
                set("a script", &mut draft.source, Source::Json(fd))?;
            }
            "--deadline" => set(&name, &mut draft.deadline, time(&name, &value()?)?)?,
            "--ready-file" => {
                let file = Ready::File(value()?.into());
                set("where to say \"ready\"", &mut draft.ready, file)?;
            }
            "--ready-fd" => {
                let fd = Ready::Descriptor(descriptor(&name, &value()?)?);
                set("where to say \"ready\"", &mut draft.ready, fd)?;
            }
            "--ledger-fd" => {
                let fd = descriptor(&name, &value()?)?;
                set(&name, &mut draft.ledger, fd)?;
            }
            "--given-fd" => {
                let fd = descriptor(&name, &value()?)?;
                set(&name, &mut draft.given, fd)?;
            }
            // What an actor passes to itself.
            "--again" => {
                let again = value()?.to_str().and_then(|text| text.parse().ok());
                let again = again.ok_or_else(|| usage_error("--again is for actors alone"))?;
                set(&name, &mut draft.again, again)?;
            }
            _ => return Err(usage_error(format!("unknown option {word:?}"))),
        }
    }
    draft.finish()
}

impl Draft {
    fn finish(self) -> Result<Asked, Failure> {
        let Some(source) = self.source else {
            return Err(usage_error("no script is given"));
        };
        if self.print {
            return Ok(Asked::Print(source));
        }
        let trial = matches!(source, Source::Json(_));
        let deadline = match self.deadline {
            Some(FOREVER) => None,
            Some(ns) => Some(Duration::from_nanos(ns)),
            // What plays a trial has guards of its own outside the tree.
            None => (!trial).then_some(DEADLINE),
        };
        let named = || {
            let path = std::env::var_os(READY_VARIABLE).filter(|path| !path.is_empty());
            path.map(|path| Ready::File(path.into()))
        };
        Ok(Asked::Play(Play {
            source,
            deadline,
            ready: self.ready.or_else(named),
            ledger: self.ledger,
            given: self.given,
            again: self.again,
        }))
    }
}

fn set<T>(what: &str, place: &mut Option<T>, value: T) -> Result<(), Failure> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage_error(format!("{what} is given twice"))),
    }
}

fn descriptor(name: &str, text: &OsStr) -> Result<RawFd, Failure> {
    let number = text.to_str().and_then(|t| t.parse().ok());
    number.filter(|n| *n >= 0).ok_or_else(|| {
        usage_error(format!(
            "{name} {text:?}: the number of a descriptor is needed"
        ))
    })
}

fn time(name: &str, text: &OsStr) -> Result<u64, Failure> {
    text.to_str().and_then(parse_ns).ok_or_else(|| {
        usage_error(format!(
            "{name} {text:?}: a time such as 500ms, 2s or forever is needed"
        ))
    })
}

fn usage_error(problem: impl Into<String>) -> Failure {
    let problem = problem.into();
    Failure::new(USAGE_ERROR, format!("{problem}; actor --help says more"))
}

/// What `--help` prints: options and operations.
pub(super) fn help() -> String {
    let operations = WORDS.iter().filter_map(|word| usage(word));
    operations.fold(format!("{USAGE}\nOperations:\n"), |text, usage| {
        text + "  " + &usage + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Asked, String> {
        parse(words.iter().map(OsString::from)).map_err(|failure| failure.message)
    }

    fn play(words: &[&str]) -> Play {
        match asked(words).unwrap() {
            Asked::Play(play) => play,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_script_comes_from_one_place() {
        assert_eq!(play(&["main:"]).source, Source::Text("main:".into()));
        assert_eq!(play(&["--file", "x"]).source, Source::File("x".into()));
        assert_eq!(play(&["--file=-"]).source, Source::Stdin);
        assert_eq!(play(&["--script-fd", "3"]).source, Source::Json(3));
        for words in [&["main:", "main:"][..], &["--file", "x", "main:"]] {
            assert!(asked(words).unwrap_err().contains("given twice"));
        }
        assert!(asked(&[]).unwrap_err().contains("no script is given"));
    }

    #[test]
    fn a_deadline_is_there_unless_a_trial_has_guards() {
        assert_eq!(play(&["main:"]).deadline, Some(DEADLINE));
        assert_eq!(play(&["main:", "--deadline=forever"]).deadline, None);
        assert_eq!(play(&["--script-fd=3"]).deadline, None);
        let short = play(&["--script-fd=3", "--deadline", "5ms"]).deadline;
        assert_eq!(short, Some(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (words, why) in [
            (&["--jump"][..], "unknown option"),
            (&["--help=x"], "unknown option"),
            (&["--deadline"], "needs a value"),
            (&["--deadline", "5"], "a time such as"),
            (&["--ready-fd", "-1"], "the number of a descriptor"),
            (&["--ledger-fd", "x"], "the number of a descriptor"),
            (&["--ready-fd", "1", "--ready-file", "x"], "given twice"),
        ] {
            let error = asked(words).unwrap_err();
            assert!(error.contains(why), "{words:?}: {error}");
        }
        assert!(matches!(asked(&["--help"]), Ok(Asked::Help)));
        assert!(help().contains("\n  fork BLOCK [xN]\n"));
    }
}
