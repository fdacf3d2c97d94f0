//! The command `scenario`, which is also the actor that plays scripts.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: an actor must not do anything that its script does not say.
    scenarios::actor::main_if_actor();
    scenarios::command::main()
}
