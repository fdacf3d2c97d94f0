//! Other programs, run so that a failure names the program, its arguments, its exit status and its
//! output.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

/// Why a program's output cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It is not installed, or could not be started.
    #[error(
        "cannot start `{program}`: {cause}; `lab doctor` lists what is needed and the command that \
            installs it"
    )]
    Start {
        /// The program.
        program: String,
        /// What the system answered; in the message, and so no source of its own.
        cause: io::Error,
    },
    /// The disk filled up while it ran.
    #[error(
        "the disk is full: `{line}` in {place} stopped with \"No space left on device\"; free \
            some, or choose another place with --cache DIR"
    )]
    DiskFull {
        /// The command line.
        line: String,
        /// Its working directory.
        place: String,
    },
    /// It ran and failed.
    #[error("`{line}` ended with {status}:\n{tail}")]
    Failed {
        /// The command line.
        line: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines that it printed.
        tail: String,
    },
}

/// How many lines of a failed program's output an error carries.
const TAIL_LINES: usize = 15;

/// The command line of `command`, for messages.
#[must_use]
pub fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of `text`.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs `command` without input and returns its standard output.
///
/// # Errors
/// [`ProcessError`] when it cannot be started or does not end with success.
pub fn output(command: &mut Command) -> Result<Vec<u8>, ProcessError> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| start_error(command, cause))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Err(failed(command, out.status, &text))
}

/// Like [`output`], as text.
///
/// # Errors
/// As for [`output`].
pub fn text(command: &mut Command) -> Result<String, ProcessError> {
    output(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs `command` with everything that it prints written to the file `log`, for long builds.
///
/// # Errors
/// [`ProcessError`]; the tail of the log is in the message.
pub fn logged(command: &mut Command, log: &Path) -> Result<(), ProcessError> {
    let open = || {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)?;
        Ok::<_, io::Error>((file.try_clone()?, file))
    };
    let (out, err) = open().map_err(|cause| start_error(command, cause))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .status()
        .map_err(|cause| start_error(command, cause))?;
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    Err(failed(command, status, &text))
}

fn start_error(command: &Command, cause: io::Error) -> ProcessError {
    ProcessError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        cause,
    }
}

fn failed(command: &Command, status: ExitStatus, text: &str) -> ProcessError {
    let line = line(command);
    if text.contains("No space left on device") {
        let place = command
            .get_current_dir()
            .unwrap_or_else(|| Path::new("."))
            .display()
            .to_string();
        return ProcessError::DiskFull { line, place };
    }
    // A compiler's errors come long before the last line of a parallel build.
    let errors: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("error:") || l.contains("Error "))
        .collect();
    let mut shown = tail(text, TAIL_LINES);
    if !errors.is_empty() {
        shown = format!(
            "{}\n...\n{shown}",
            errors[..errors.len().min(TAIL_LINES)].join("\n")
        );
    }
    ProcessError::Failed {
        line,
        status,
        tail: shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_remedy() {
        let error = output(&mut Command::new("no-such-program-here"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no-such-program-here") && error.contains("lab doctor"),
            "{error}"
        );
    }

    #[test]
    fn a_full_disk_is_one_error() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo write error: No space left on device >&2; exit 2",
        ]);
        let error = output(&mut command).unwrap_err();
        assert!(matches!(error, ProcessError::DiskFull { .. }), "{error}");
    }

    #[test]
    fn a_failure_carries_the_status_and_what_was_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo told you; exit 3"]);
        let error = output(&mut command).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("told you"),
            "{error}"
        );
    }
}
