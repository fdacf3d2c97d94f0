//! Tells the library from which revision and with which compiler it was built. Unknown facts are
//! left out.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| output(Command::new("git").args(args));
    // A commit or a checkout changes one of these; without git nothing has to be watched.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(revision) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env=HARNESS_REVISION={revision}");
    }
    if let Some(version) =
        std::env::var_os("RUSTC").and_then(|rustc| output(Command::new(rustc).arg("--version")))
    {
        println!("cargo::rustc-env=HARNESS_RUSTC={version}");
    }
}

/// What the command printed, if it succeeded and printed anything.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
