//! The command `scenario`, which is also the actor that plays scripts, and the release agent of its
//! own cgroup v1 hierarchies.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: an actor must not do anything that its script does not say.
    scenarios::actor::main_if_actor();
    harness::detect::act_as_release_agent();
    scenarios::command::main()
}
