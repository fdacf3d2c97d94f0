//! Help, man page and completions, from the same table as the options.

use std::io::Write;

use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;

use crate::error::RunError;
use crate::options;
use crate::place::Above;
use crate::tier::Tier;

const AFTER: &str = "\
Exit codes: the program's; 124 ended by --timeout, --cpu-time or --lease; 123 the end could not be \
proved; 125 the launcher failed; 126 the program could not be executed; 127 it was not found. A \
program that a signal ended makes the launcher end by that signal.

Called as `timeout` it takes the arguments of timeout(1).";

/// The whole command, as clap sees it.
pub fn command() -> Command {
    let run = options::all().fold(
        Command::new("run")
            .about("Run a program; over when everything that it started is gone")
            .after_help(AFTER),
        |run, option| {
            let arg = Arg::new(option.long).long(option.long).help(option.help);
            let arg = match option.short {
                Some(letter) => arg.short(letter),
                None => arg,
            };
            run.arg(match option.value {
                None => arg.action(ArgAction::SetTrue),
                Some(value) if option.values.is_empty() => arg.value_name(value),
                Some(value) => arg.value_name(value).value_parser(option.values.to_vec()),
            })
        },
    );
    let program = Arg::new("program")
        .value_name("PROGRAM")
        .help("The program, and its arguments")
        .num_args(1..)
        .trailing_var_arg(true)
        .required(true);
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(value_parser!(Shell));
    Command::new("allgone")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a program, know when all of it is over, end all of it, prove it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run.arg(program))
        .subcommand(Command::new("doctor").about("Try what this machine allows, and say why not"))
        .subcommand(
            Command::new("conform")
                .about("Score any launcher of programs: see `allgone conform --help`"),
        )
        .subcommand(Command::new("man").about("Print the man page of `allgone run`"))
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .arg(shell),
        )
}

/// The man page, in roff.
pub fn man(out: &mut impl Write) -> std::io::Result<()> {
    let mut command = command();
    command.build();
    let run = command.find_subcommand("run").cloned();
    let run = run.unwrap_or(command).display_name("allgone-run");
    clap_mangen::Man::new(run).render(out)
}

/// Completions for a shell.
pub fn completions(shell: Shell, out: &mut impl Write) {
    clap_complete::generate(shell, &mut command(), "allgone", out);
}

/// What the machine allows, one line each; whether a program can be run at all.
pub fn doctor(out: &mut impl Write) -> std::io::Result<bool> {
    let mut any = false;
    let ways = [
        ("run", Tier::Namespace, false, Above::Own),
        ("run --bare", Tier::Namespace, true, Above::Own),
        ("run --tier traced", Tier::Traced, false, Above::Own),
        ("run --tier cgroup", Tier::Cgroup, false, Above::Own),
        // The last one: from then on this process is in the scope.
        (
            "run --cgroup systemd",
            Tier::Namespace,
            false,
            Above::Systemd,
        ),
    ];
    for (name, tier, bare, cgroup) in ways {
        let options = crate::options::Options {
            bare,
            cgroup,
            tier: Some(tier),
            program: vec!["true".into()],
            ..Default::default()
        };
        let (works, line) = match crate::run::whole(&options) {
            Ok((Ok(_), ending)) => (true, crate::words::proof(&ending.proof)),
            Ok((Err(e), _)) => refused(&e),
            Err(e) => refused(&e),
        };
        any |= works;
        let answer = if works { "works" } else { "does not work" };
        writeln!(out, "allgone {name}: {answer}: {line}")?;
    }
    Ok(any)
}

fn refused(error: &RunError) -> (bool, String) {
    (false, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        command().debug_assert();
    }

    #[test]
    fn the_man_page_has_every_option() {
        let mut page = Vec::new();
        man(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap().replace('\\', "");
        for option in options::all() {
            assert!(
                page.contains(&format!("--{}", option.long)),
                "{}",
                option.long
            );
        }
    }
}
