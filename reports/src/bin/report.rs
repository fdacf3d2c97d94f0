//! The command `report`: see [`reports::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    reports::command::main()
}
