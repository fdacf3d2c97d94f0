//! A first adapter for a launcher.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, Write as _};

use anyhow::Context;

use super::args::NewArgs;
use super::{Failure, GOOD, print, say};
use crate::adapter::Adapter;

/// Writes it, after it has been understood as any adapter is. A file that exists is left alone.
pub(super) fn new(args: &NewArgs) -> Result<u8, Failure> {
    let asks = args.run.is_none();
    let mut lines = std::io::stdin().lock().lines();
    let mut answer = |given: &Option<String>, question: &str| -> Option<String> {
        if !asks {
            return given.clone();
        }
        say(question);
        lines.next()?.ok().map(|line| line.trim().to_owned())
    };
    let run = answer(
        &args.run,
        "How does it run a program? Write {command} for the program with its arguments, quoted for \
         a shell, or {program} and {args}. For example: timeout 60 {program} {args}",
    );
    let limit = answer(
        &args.limit,
        "And for at most {s} seconds, or {ms} milliseconds? Empty: it has no time limit.",
    );
    let stop = answer(
        &args.stop,
        "How is a run stopped from outside? {id} is a name that the run command can use, too. \
         Empty: there is no such command.",
    );
    let about = answer(&args.about, "What is it, in one line?");
    let text = text(
        run.as_deref(),
        limit.as_deref(),
        stop.as_deref(),
        about.as_deref(),
    );
    let adapter = Adapter::parse(&args.file, &text).map_err(Failure::usage)?;
    let file = File::options()
        .write(true)
        .create_new(true)
        .open(&args.file);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", args.file))
        .map_err(Failure::usage)?;
    print(&format!(
        "{} is written. `allgone-conform {0}` says what {} keeps; then write claims into it.\n",
        args.file, adapter.id
    ))?;
    Ok(GOOD)
}

fn text(run: Option<&str>, limit: Option<&str>, stop: Option<&str>, about: Option<&str>) -> String {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        match writeln!(text, "{name} = {value}") {
            Ok(()) | Err(_) => {}
        }
    };
    let about = given(about).unwrap_or_else(|| "a launcher".to_owned());
    line("about", quoted(&about));
    for (name, command) in [("run", run), ("limit", limit), ("stop", stop)] {
        if let Some(command) = given(command) {
            let words: Vec<String> = command.split_whitespace().map(quoted).collect();
            line(name, format!("[{}]", words.join(", ")));
        }
    }
    text + "\
# Exit codes that say that the time limit was reached.
# timed_out = [124]
# Time between SIGTERM and SIGKILL, in milliseconds.
# grace_ms = 500
# What it needs besides its program: root, systemd, userns, program:NAME, file:PATH.
# needs = [\"root\"]
# The highest level at which it is to keep a promise: 0 polite, 1 daemons, 2 hostile,
# 3 namespaces, 4 cgroups of their own.
# claims = { status = 1, end-kill = 4 }
"
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_an_adapter() {
        let run = "x --say \"a\\b\" {program} {args}";
        let text = text(
            Some(run),
            Some(""),
            Some("x-stop {id}"),
            Some("with \"quotes\"\t"),
        );
        let adapter = Adapter::parse("dir/y.toml", &text).unwrap();
        assert_eq!(adapter.id, "y");
        assert_eq!(adapter.run.words().join(" "), run);
        assert!(adapter.limit.is_none() && adapter.stop.is_some());
        assert_eq!(adapter.about, "with \"quotes\"\t");
    }

    #[test]
    fn an_answer_that_names_no_program_is_refused() {
        let text = text(Some("x -v"), None, None, None);
        let refused = Adapter::parse("y.toml", &text).unwrap_err().to_string();
        assert!(
            refused.starts_with("y.toml:2:7: the command names no program"),
            "{refused}"
        );
    }
}
