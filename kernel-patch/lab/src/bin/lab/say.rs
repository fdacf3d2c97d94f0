//! Lines for the user. A reader that has gone, as `head` goes, ends the lab without a panic.

use std::fmt;
use std::io::{self, Write};

/// The status when nobody reads any more: that of a program which SIGPIPE has ended, as a shell has
/// it.
pub(crate) const STATUS_CLOSED: u8 = 141;

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}

/// Prints a line to standard error. If nobody reads there, there is nobody to tell.
macro_rules! tell {
    ($($words:tt)*) => { drop($crate::say::err(&format!($($words)*))) };
}

/// Prints a line to standard output, where no machine is running. What nobody reads any more is
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

/// Whether an error says that whoever read has gone.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
