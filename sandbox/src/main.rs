//! The command `allgone`.

fn main() -> std::process::ExitCode {
    sandbox::command::main()
}
