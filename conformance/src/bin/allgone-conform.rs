//! The command `allgone-conform`, which is also the process of one trial.

fn main() -> std::process::ExitCode {
    conformance::command::main()
}
