//! Running this program again through a fake `systemd-run`.

use std::process::ExitCode;

use harness::host::base::Options;
use harness::host::{Detected, Paths, detect, rerun};

use crate::support::{Outcome, ensure, text};

/// The program that the fake `systemd-run` runs: what `scenario` does with what the search says.
pub(crate) fn as_program() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let root = std::env::var_os("HOST_TEST_ROOT").unwrap_or_default();
    let options = Options {
        paths: Paths::below(root),
        ..Options::here()
    };
    match detect(&options) {
        Ok(Detected::Rerun(mut rerun)) => {
            eprintln!("{}", rerun.why);
            eprintln!("exec: {}", rerun.command.exec());
            ExitCode::from(1)
        }
        Ok(Detected::Here(host)) => {
            eprintln!(
                "{}",
                host.no_base
                    .map_or_else(|| "found".to_owned(), |e| e.to_string())
            );
            ExitCode::from(3)
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(1)
        }
    }
}

pub(crate) fn rerun_once() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().map_err(text)?;
    let root = dir.path();
    for sub in ["bin", "proc/self", "run/systemd/system", "cg"] {
        std::fs::create_dir_all(root.join(sub)).map_err(text)?;
    }
    let mounts = format!(
        "1 1 0:1 / {} rw - cgroup2 none rw\n",
        root.join("cg").display()
    );
    let fake = format!(
        "#!/bin/sh\necho \"$@\" >>{}\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
        root.join("noted").display()
    );
    for (name, content) in [
        ("proc/self/mountinfo", mounts.as_str()),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/status", "CapEff:\t0\n"),
        ("bin/systemd-run", fake.as_str()),
    ] {
        std::fs::write(root.join(name), content).map_err(text)?;
    }
    std::fs::set_permissions(
        root.join("bin/systemd-run"),
        std::fs::Permissions::from_mode(0o755),
    )
    .map_err(text)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new(std::env::current_exe().map_err(text)?)
        .arg("forkbomb")
        .env("HOST_TEST_PROGRAM", "1")
        .env("HOST_TEST_ROOT", root)
        .env("PATH", format!("{}:{path}", root.join("bin").display()))
        .env_remove(rerun::GUARD)
        .output()
        .map_err(text)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let noted = std::fs::read_to_string(root.join("noted")).map_err(text)?;
    ensure(output.status.code() == Some(3), || {
        format!("{}: {said}", output.status)
    })?;
    ensure(
        said.contains("runs itself again") && said.contains(rerun::GUARD),
        || said.clone(),
    )?;
    let lines: Vec<_> = noted.lines().collect();
    ensure(
        lines.len() == 2 && lines[0].ends_with("-- true") && lines[1].ends_with(" forkbomb"),
        || noted.clone(),
    )
}
