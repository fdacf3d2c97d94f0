//! Bad input and bad luck: one clear error each, with its exit code, and nothing left.

use std::process::Stdio;

use crate::support::{Whose, allgone, binary, code, errors, named};

fn told(args: &[&str]) -> (i32, String) {
    let output = allgone(Whose::Own, args).output();
    (code(&output), errors(&output))
}

#[test]
fn each_mistake_has_one_line_and_a_code() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["/nonexistent/program"], 127, "no such program"),
        (&["program-of-nobody"], 127, "no such program"),
        (&["/etc/passwd"], 126, "EACCES"),
        (&["/"], 126, "EACCES"),
        (&["/etc/passwd/x"], 127, "no such program"),
        (&["--timeout", "0", "true"], 125, "--timeout"),
        (&["--timeout", "never", "true"], 125, "--timeout"),
        (&["--grace", "1s", "true"], 125, "--grace"),
        (
            &["--require", "namespace", "--best-effort", "true"],
            125,
            "contradict",
        ),
        (&["--require", "magic", "true"], 125, "--require"),
        (&["--no-such", "true"], 125, "unknown option"),
        (&[], 125, "no program"),
        (&["--report", "/nonexistent/report", "true"], 125, "report"),
        (&["--report", "99", "true"], 125, "--report"),
        (&["--events", "99", "true"], 125, "--events"),
        (&["--lease", "99", "true"], 125, "--lease"),
        (&["--report", "/dev/full", "true"], 125, "report"),
    ];
    for (args, expected, word) in cases {
        let (code, said) = told(args);
        assert_eq!(code, *expected, "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn the_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = allgone(Whose::Own, &["--", "sh", "-c", "exit 4"]);
    run.command.current_dir(dir.path());
    // It exists when the launcher is started, and no more when the program is.
    let script = format!(
        "rmdir {} && exec \"$0\" run -- sh -c 'exit 4'",
        dir.path().display()
    );
    let mut command = std::process::Command::new("sh");
    let binary = run.command.get_program().to_owned();
    command
        .args(["-c", &script])
        .arg(binary)
        .current_dir(dir.path());
    assert_eq!(code(&command.output().unwrap()), 4);
}

#[test]
fn descriptors_are_exhausted() {
    let binary = binary();
    for limit in 4..12 {
        let script = format!("ulimit -n {limit}; exec \"$0\" run --bare -- sh -c 'exit 4'");
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &script])
            .arg(binary.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = errors(&output);
        match code(&output) {
            4 => assert_eq!(said, "", "{limit}"),
            125 => assert_eq!(said.lines().count(), 1, "{limit}: {said}"),
            other => panic!("{limit}: {other}: {said}"),
        }
    }
}

#[test]
fn a_script_without_a_first_line_is_one_of_the_shell() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    std::fs::write(&path, "exit 6\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = told(&["--bare", path.to_str().unwrap()]);
    assert_eq!((code, said.as_str()), (6, ""));
}

#[test]
fn a_report_names_what_was_asked_and_what_was_done() {
    let output = allgone(
        Whose::Own,
        &[
            "--report",
            "2",
            "-t",
            "9s",
            "--nofile",
            "64",
            "--",
            "sh",
            "-c",
            "ulimit -n; exit 2",
        ],
    )
    .output();
    assert_eq!(output.stdout, b"64\n");
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(report["exit_code"], 2);
    assert_eq!(report["proof"]["proved"], true);
    assert_eq!(report["main"]["exit"], 2);
    let asked = report["asked"].as_array().unwrap();
    let names: Vec<_> = asked
        .iter()
        .map(|line| line["option"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["timeout", "nofile"]);
    assert!(report["steps"].as_array().unwrap().len() > 5);
}

#[test]
fn a_dry_run_starts_nothing() {
    let (code, said) = told(&["--dry-run", "--", "touch", "/nonexistent/file"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("execve(\"touch\")"), "{said}");
}

#[test]
fn help_man_page_and_doctor_answer() {
    for (args, word) in [
        (&["run", "--help"][..], "--timeout"),
        (&["--help"], "doctor"),
        (&["man"], "timeout"),
        (&["completions", "bash"], "timeout"),
        (&["doctor"], "works: proved"),
    ] {
        let output = named(Whose::Own, "allgone", args).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(code(&output), 0, "{args:?}: {output:?}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert_eq!(named(Whose::Own, "allgone", &["no-such"]).code(), 125);
}
