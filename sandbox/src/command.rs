//! The command `allgone`, as a function: a test program can be it. Called as `timeout` it takes
//! that program's arguments.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;

use allgone::sys::spawn::launch::die_of;

use crate::end::Exit;
use crate::error::{FAILED, RunError};
use crate::{help, launch, options, run, timeout};

/// The whole command: from the arguments, its own name included, to the exit code. Where the
/// program was ended by a signal it does not return.
///
/// For a process with one thread, which has done nothing else before.
pub fn main(args: Vec<OsString>) -> u8 {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_default();
    if let Some(code) = launch::served(&name) {
        return code;
    }
    let as_timeout = Path::new(&name).file_name() == Some(OsStr::new("timeout"));
    let mut args = args.peekable();
    let answer = if as_timeout {
        timeout::parse(args).map_err(RunError::from)
    } else if args.next_if(|word| word == "run").is_some() {
        if args
            .next_if(|word| word == "--help" || word == "-h")
            .is_some()
        {
            return other(["run".into(), "--help".into()].into_iter());
        }
        options::parse(args).map_err(RunError::from)
    } else if args.next_if(|word| word == "conform").is_some() {
        return conform(args);
    } else {
        return other(args);
    };
    match answer.and_then(|options| run::run(&options)) {
        Ok(Exit::Code(code)) => code,
        Ok(Exit::Signal(signal)) => die_of(signal),
        Err(e) => {
            say(&format!("allgone: {e}"));
            e.exit_code()
        }
    }
}

/// The conformance suite, a program of its own: it is executed if it is beside this one, or in
/// `PATH`.
fn conform(args: impl Iterator<Item = OsString>) -> u8 {
    const NAME: &str = "allgone-conform";
    let beside = std::env::current_exe().map(|own| own.with_file_name(NAME));
    let program = match beside {
        Ok(beside) if beside.is_file() => beside,
        _ => NAME.into(),
    };
    let error = std::process::Command::new(program).args(args).exec();
    say(&format!(
        "allgone: could not execute {NAME}: {error}; it is looked for beside this program and in \
         PATH, and comes with `cargo install --path conformance`"
    ));
    FAILED
}

/// Everything but a run, which may take its time.
fn other(args: impl Iterator<Item = OsString>) -> u8 {
    let words = std::iter::once(OsString::from("allgone")).chain(args);
    let matches = match help::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(e) => {
            // Help is no mistake, and goes to standard output.
            let asked = !e.use_stderr();
            return answer(e.print().map(|()| asked));
        }
    };
    let mut out = std::io::stdout();
    answer(match matches.subcommand() {
        Some(("doctor", _)) => help::doctor(&mut out),
        Some(("man", _)) => help::man(&mut out).map(|()| true),
        Some(("completions", words)) => {
            if let Some(shell) = words.get_one::<clap_complete::Shell>("shell") {
                help::completions(*shell, &mut out);
            }
            Ok(true)
        }
        _ => Ok(false),
    })
}

fn answer(good: std::io::Result<bool>) -> u8 {
    // Nothing does it later: this process ends without the C library's exit.
    match good.and_then(|good| std::io::stdout().flush().map(|()| good)) {
        Ok(true) => 0,
        Ok(false) => FAILED,
        Err(e) => {
            say(&format!("allgone: could not write the answer: {e}"));
            FAILED
        }
    }
}

/// To standard error; if that is gone there is nobody to tell.
fn say(line: &str) {
    match writeln!(std::io::stderr(), "{line}") {
        Ok(()) | Err(_) => {}
    }
}
