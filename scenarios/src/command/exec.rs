//! `scenario exec`: any program as a workload.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::program::{Options, Program};
use super::values::duration;
use super::{request, run};

const EXAMPLES: &str = "\
Examples:
  scenario exec -- make -j4
  scenario exec --detector all -- sh -c 'sleep 1 & setsid sleep 2 & exit 0'
  scenario exec --kill cgroup-kill,killpg --kill-after 2s -- ssh-agent -D

The truth: a program does not say when its processes end, so the end is an interval. It lies between
the last moment at which something was certainly alive (a process listed in cgroup.procs, a fork, an
exec) and the first at which all were certainly gone (populated 0, no thread left by the kernel's
process events, no process executing its own copy; as many of these as can be asked, and all have to
agree). A verdict before the interval is early, one in it cannot be told, one after it is right, and
the latency is an interval, too. Each record says what the truth was learned from.

Expected is what follows from the scope: a mechanism that sees or reaches a whole cgroup or a PID
namespace is right about any program. About all others nothing is expected, and every outcome is
recorded.";

/// Run any program as a workload.
///
/// It runs inside limits and below the usual guards. If this command is root, the program has a
/// user of its own without capabilities. HOME, TMPDIR and the like name a directory of the trial,
/// which is removed with it; otherwise the environment and the working directory are this
/// command's. It reads nothing. A program that cannot be started is an outcome (not-started), and
/// so is one that lives on behind its first process.
#[derive(Clone, Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    mut_arg("scenarios", |arg| {
        arg.required(false).hide(true).index(1).num_args(1).action(ArgAction::Set)
    }),
    mut_arg("vm", |arg| arg.hide(true)),
    mut_arg("deadline", |arg| arg.default_value("10s")),
    mut_arg("tasks", |arg| arg.default_value("256")),
    mut_arg("memory", |arg| arg.default_value("1G")),
    mut_arg("trials", |arg| arg.help("Trials of each row [default: 1]")),
    mut_arg("detector", |arg| arg.help(
        "Detectors to run, as above [default: those that watch kills by default; none if --kill is \
            given]")),
    mut_arg("kill", |arg| arg.help("Strategies to run [default: none]")),
)]
pub(super) struct ExecArgs {
    /// How it is run.
    #[command(flatten)]
    pub run: RunArgs,

    /// How long the program runs before it is killed
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration,
        help_heading = "What is run")]
    pub kill_after: Duration,

    /// Execute a copy of the program that nobody else has: whether somebody still executes it can
    /// then be asked with a lease, even if it has left its cgroup
    #[arg(long, help_heading = "What is run")]
    pub own_copy: bool,

    /// Append what the program writes to this file [default: it is thrown away]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<std::path::PathBuf>,

    /// The program and its arguments
    #[arg(last = true, index = 2, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// Runs the program as `args` ask for.
pub(super) fn exec(args: &ExecArgs) -> Result<Exit, Failure> {
    if args.run.vm.is_some() {
        return Err(Failure::usage(
            "exec runs a program of this machine, so --vm cannot be given",
        ));
    }
    if let Some(word) = args.run.scenarios.first() {
        return Err(Failure::usage(format!(
            "exec: {word:?} stands before the two dashes; the program and its arguments come after \
                them"
        )));
    }
    let options = Options {
        kill_after: args.kill_after,
        own_copy: args.own_copy,
        output: args.output.clone(),
    };
    let program = Program::find(&args.program, options)?;
    run::play(&args.run, &request::of_program(&args.run, program)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::super::args::{Cli, Verb};
    use super::*;

    fn parsed(words: &[&str]) -> Result<ExecArgs, String> {
        let all = [&["scenario", "exec"], words].concat();
        match Cli::try_parse_from(all).map_err(|e| e.to_string())?.verb {
            Some(Verb::Exec(args)) => Ok(*args),
            other => Err(format!("{other:?}")),
        }
    }

    fn request(words: &[&str]) -> super::request::Request {
        let args = parsed(words).unwrap();
        let program = Program::find(&args.program, Options::default()).unwrap();
        request::of_program(&args.run, program).unwrap()
    }

    #[test]
    fn what_follows_two_dashes_is_the_program() {
        let args = parsed(&["--detector", "pidfd-main", "--", "sh", "-c", "--trials 7"]).unwrap();
        assert_eq!(args.program, ["sh", "-c", "--trials 7"]);
        assert_eq!(args.run.deadline(), Duration::from_secs(10));
        assert_eq!((args.run.tasks, args.run.memory), (256, 1 << 30));
        let plain = parsed(&["--", "sleep", "0.1"]).unwrap();
        assert_eq!(plain.program, ["sleep", "0.1"]);
        assert!(plain.run.scenarios.is_empty());
        assert!(parsed(&["sh"]).is_err() && parsed(&["--"]).is_err());
    }

    #[test]
    fn it_is_killed_only_if_a_strategy_is_named() {
        let plain = request(&["--", "sh"]);
        assert_eq!(
            (plain.watched.len(), plain.killed.len(), plain.trials),
            (1, 0, 1)
        );
        assert_eq!(plain.detectors.ids.len(), 3);
        let killed = request(&["--kill", "cgroup-kill", "--", "sh"]);
        assert_eq!((killed.watched.len(), killed.killed.len()), (0, 1));
        let both = request(&["--kill", "killpg", "--detector", "all", "--", "sh"]);
        assert_eq!((both.watched.len(), both.killed.len()), (1, 1));
    }
}
