//! `lab doctor` and `lab setup`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use lab::doctor::{KEYRING_PACKAGE, NEEDS, install_command, missing};
use nix::unistd::geteuid;

pub(crate) fn doctor() -> ExitCode {
    for need in &NEEDS {
        let found = need.found();
        let state = if found.is_some() { "have" } else { "MISSING" };
        let place = found.map_or_else(
            || need.package.to_owned(),
            |path| path.display().to_string(),
        );
        say!("{state:8} {:22} {place:40} {}", need.name(), need.why);
    }
    let packages = missing(&NEEDS, |need| need.found().is_some());
    if packages.is_empty() {
        say!("nothing is missing");
        return ExitCode::SUCCESS;
    }
    say!(
        "to install what is missing: `lab setup`, or, as root:\n  {}",
        install_command(&packages)
    );
    ExitCode::FAILURE
}

pub(crate) fn setup() -> Result<ExitCode> {
    let mut packages = missing(&NEEDS, |need| need.found().is_some());
    if packages.is_empty() {
        say!("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    if packages.contains(&"apt") {
        bail!(
            "this machine has no apt: install the counterparts of these packages by its own means: \
                {}",
            packages.join(" ")
        );
    }
    packages.push(KEYRING_PACKAGE);
    // cargo is not installed as a package: how to get it is the user's decision.
    packages.retain(|name| *name != "cargo");
    for command in ["apt-get update".to_owned(), install_command(&packages)] {
        let mut words = command.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if !geteuid().is_root() {
            words.insert(0, "sudo".to_owned());
        }
        say!("+ {}", words.join(" "));
        let status = Command::new(&words[0])
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .with_context(|| format!("cannot start {}; run as root: {command}", words[0]))?;
        if !status.success() {
            bail!("`{}` ended with {status}", words.join(" "));
        }
    }
    Ok(doctor())
}
