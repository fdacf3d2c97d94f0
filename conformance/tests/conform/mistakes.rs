//! Launchers and adapters that cannot be scored, or hardly: a row with the reason, never a hang.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::support::{cell, command, fixture, run, score, works};
use conformance::score::Verdict;

#[test]
fn a_launcher_that_is_not_installed_is_skipped_with_the_need() {
    if !works() {
        return;
    }
    let (score, code) = score("is-missing", &[]);
    assert_eq!(
        score.skipped.as_deref(),
        Some("no-such-launcher is not installed")
    );
    assert_eq!(code, 0);
}

#[test]
fn a_mistake_in_an_adapter_is_refused_with_line_and_column() {
    let output = run("has-a-mistake", &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("has-a-mistake.toml:3:22: there is no promise `kil`"),
        "{said}"
    );
}

#[test]
fn unknown_names_are_refused() {
    for (args, wanted) in [
        (&["no-such-launcher"][..], "there is no adapter"),
        (&["timeout", "--promise", "ending"], "there is no promise"),
        (&["timeout", "--case", "ending/x"], "there is no promise"),
        (
            &["timeout", "--baseline", "/dev/null"],
            "could not understand /dev/null",
        ),
        (&[], "no launcher is named"),
        (&["explain", "x"], "there is no promise"),
    ] {
        let output = command().args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(wanted), "{args:?}: {said}");
    }
}

#[test]
fn a_launcher_that_hangs_is_scored() {
    if !works() {
        return;
    }
    let (score, code) = score("hangs", &["--promise", "status"]);
    let why = score.unusable.unwrap();
    assert!(why.contains("did not start the payload"), "{why}");
    assert_eq!(code, 1);
}

#[test]
fn a_launcher_that_floods_its_output_is_scored() {
    if !works() {
        return;
    }
    let (score, _) = score("floods", &["--promise", "status"]);
    assert_eq!(cell(&score, "status", 0).verdict, Verdict::Kept);
}

#[test]
fn a_launcher_that_forks_away_from_its_start_is_scored() {
    if !works() {
        return;
    }
    let (score, _) = score("forks-away", &["--promise", "end-wait"]);
    for level in 0..=1 {
        let cell = cell(&score, "end-wait", level);
        assert_eq!((cell.kept, cell.unknown), (0, 0), "{cell:?}");
        assert!(
            cell.why
                .as_ref()
                .unwrap()
                .contains("alive when it had returned"),
            "{cell:?}"
        );
    }
}

#[test]
fn a_launcher_that_changes_the_devices_changes_none_of_the_machine() {
    if !works() {
        return;
    }
    let number = || {
        fs::symlink_metadata("/dev/ptmx")
            .map(|node| node.ino())
            .ok()
    };
    let before = number();
    let (score, code) = score("links-devices", &["--promise", "status"]);
    assert_eq!(cell(&score, "status", 0).verdict, Verdict::Kept);
    assert_eq!(code, 0);
    assert!(fs::symlink_metadata("/dev/conform-link").is_err());
    assert_eq!(number(), before);
}

#[test]
fn a_launcher_that_copies_the_payload_is_not_known() {
    if !works() {
        return;
    }
    let (score, code) = score("copies-the-payload", &["--promise", "end-kill"]);
    let why = score.unusable.unwrap();
    assert!(why.contains("a copy of the payload"), "{why}");
    assert_eq!(code, 1);
}

#[test]
fn a_baseline_fails_on_what_was_kept_and_on_nothing_else() {
    if !works() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (before, worse) = (dir.path().join("before.json"), dir.path().join("x.toml"));
    let before = before.to_str().unwrap();
    let status = |adapter: &std::path::Path, more: &[&str]| {
        let mut command = command();
        command
            .arg(adapter)
            .args(["--quiet", "--promise", "status"])
            .args(more);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    let text = fs::read_to_string(fixture("sound")).unwrap();
    fs::write(&worse, &text).unwrap();
    assert_eq!(status(&worse, &["--out", before]).0, 0);
    fs::write(
        &worse,
        text.replace("exec unshare", "trap 'exit 0' EXIT; unshare"),
    )
    .unwrap();
    let (code, said) = status(&worse, &["--baseline", before]);
    assert_eq!(code, 1);
    assert!(
        said.contains("x status level 0: kept before, now broken"),
        "{said}"
    );
    // Broken before and now: as the baseline says.
    assert_eq!(status(&worse, &["--out", before]).0, 1);
    assert_eq!(status(&worse, &["--baseline", before]).0, 0);
}

#[test]
fn the_formats_are_what_they_say() {
    if !works() {
        return;
    }
    let output = |format: &str| {
        let output = run(
            "loses-the-status",
            &["--promise", "status", "--format", format],
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let ktap = output("ktap");
    assert!(ktap.starts_with("KTAP version 1\n1..1\n"), "{ktap}");
    assert!(ktap.contains("    not ok 1 status level 0\n"), "{ktap}");
    let junit = output("junit");
    assert!(
        junit.contains("<testsuite name=\"loses-the-status\""),
        "{junit}"
    );
    let table = output("table");
    assert!(
        table.contains("status") && table.contains("broken"),
        "{table}"
    );
    assert!(table.contains("--case status/"), "{table}");
    let page = output("markdown");
    assert!(page.contains("### loses-the-status"), "{page}");
}
