//! Lines for the user. A closed pipe, as after `head`, ends the lab without a panic.

use std::fmt;
use std::io::{self, Write};

/// The status after a closed pipe: that of a program which SIGPIPE has ended, as in a shell.
pub(crate) const STATUS_CLOSED: u8 = 141;

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}

/// Prints a line to standard error. A failed write cannot be reported.
macro_rules! tell {
    ($($words:tt)*) => { drop($crate::say::err(&format!($($words)*))) };
}

/// Prints a line to standard output, where no machine is running. After a closed pipe the rest is
/// dropped.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell!("lab: cannot write to standard output: {error}");
        }
        Ok(()) | Err(_) => {}
    }
}

/// A line of a machine's standard output.
pub(crate) fn out(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// A line of a machine's standard error.
pub(crate) fn err(line: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}

/// Whether an error means a closed pipe.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
