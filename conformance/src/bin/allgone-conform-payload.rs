//! What the trials of `allgone-conform` run: see [`conformance::payload`].

fn main() -> std::process::ExitCode {
    conformance::payload::main()
}
