//! `--vm`: the same command in a virtual machine of the kernel lab, which is thrown away. The lab
//! is another program; nothing of it is linked in here.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};

use super::args::RunArgs;
use super::exit::Failure;
use super::output::default_parent;

/// The program of the kernel lab.
const LAB: &str = "lab";

/// After this long the lab ends the machine.
const LIMIT_S: &str = "3600";

/// Executes `lab run -- scenario …` in place of this process, so that signals and the exit code are
/// the lab's. Returns only if it cannot.
pub(super) fn become_lab(args: &RunArgs, kernel: &str) -> Failure {
    match lab_command(args, kernel) {
        Ok(mut lab) => {
            let error = lab.exec();
            Failure::missing(anyhow!(
                "could not start {}: {error}",
                lab.get_program().display()
            ))
        }
        Err(failure) => failure,
    }
}

fn lab_command(args: &RunArgs, kernel: &str) -> Result<Command, Failure> {
    let program = env::current_exe().context("could not find this program's own file")?;
    let beside = program.parent().map(|dir| dir.join(LAB));
    let path = env::var_os("PATH").unwrap_or_default();
    let lab = beside
        .into_iter()
        .chain(env::split_paths(&path).map(|dir| dir.join(LAB)))
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::missing(no_lab(&program)))?;
    let here = env::current_dir().context("could not determine the current directory")?;
    let mut command = Command::new(lab);
    command
        .args(["run", "--kernel", kernel, "--limit", LIMIT_S, "--dir"])
        .arg(&here);
    command.args(bring_back(args.out.as_deref(), &here)?);
    command
        .args(["--", "scenario"])
        .args(words(env::args_os().skip(1)));
    Ok(command)
}

/// Records are copied out to the same path that the command inside prints.
fn bring_back(out: Option<&Path>, here: &Path) -> Result<[OsString; 4], Failure> {
    let (state, place) = match out {
        Some(out) => (PathBuf::from("/root/.local/state"), here.join(out)),
        None => {
            let place = default_parent().map_err(Failure::bad_place)?;
            (place.parent().unwrap_or(&place).to_path_buf(), place)
        }
    };
    let place: PathBuf = place.components().collect();
    let mut state_home = OsString::from("XDG_STATE_HOME=");
    state_home.push(state);
    Ok(["--env".into(), state_home, "--take".into(), place.into()])
}

/// The command line without `--vm`.
fn words(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut options = true;
    given
        .filter(|word| {
            options &= word != OsStr::new("--");
            let is_vm = word == OsStr::new("--vm") || word.as_encoded_bytes().starts_with(b"--vm=");
            !(options && is_vm)
        })
        .collect()
}

fn no_lab(program: &Path) -> anyhow::Error {
    let release = if cfg!(debug_assertions) {
        ""
    } else {
        " --release"
    };
    anyhow!(
        "--vm needs the kernel lab, a program called `lab` beside {} or on PATH, and there is \
            none. `cargo build{release} --package lab` builds it in the workspace; `lab setup` \
            then installs an emulator, and `lab fetch --stock 6.12` gets a kernel",
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_vm(line: &str) -> String {
        let words = words(line.split(' ').map(OsString::from));
        let words: Vec<String> = words
            .into_iter()
            .map(|w| w.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn only_the_flag_is_left_out() {
        assert_eq!(
            without_vm("forkbomb --vm --trials 2"),
            "forkbomb --trials 2"
        );
        assert_eq!(without_vm("--vm=6.12 setsid --out d"), "setsid --out d");
        assert_eq!(without_vm("setsid --vmx -- --vm"), "setsid --vmx -- --vm");
    }

    #[test]
    fn records_come_back_to_the_path_that_is_printed_inside() {
        let back = |out| bring_back(out, Path::new("/home/u")).unwrap();
        assert_eq!(back(Some(Path::new("d")))[3], "/home/u/d");
        assert_eq!(back(Some(Path::new("./d/")))[3], "/home/u/d");
        assert_eq!(back(Some(Path::new("/x")))[3], "/x");
    }

    #[test]
    fn a_missing_lab_is_named_with_the_remedy() {
        let text = no_lab(Path::new("/p/scenario")).to_string();
        assert!(
            text.contains("--package lab") && text.contains("lab fetch"),
            "{text}"
        );
    }
}
