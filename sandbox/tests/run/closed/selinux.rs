//! `--selinux-type` where there is no SELinux. What it does where there is one is in
//! `tests/selinux`.

use std::process::Command;

use super::closed;
use crate::support::{code, errors, has, users};

#[test]
fn a_context_without_selinux_is_refused() {
    let systems = std::fs::read_to_string("/proc/filesystems").unwrap();
    if !has("no-selinux", !systems.contains("\tselinuxfs")) {
        return;
    }
    for whose in users() {
        for options in [
            &["--selinux-type", "sandbox_t"][..],
            &["--selinux-level", "s0:c1"],
        ] {
            let output = closed(*whose, options, "echo ran");
            let said = errors(&output);
            assert_eq!(code(&output), 125, "{said}");
            assert!(output.stdout.is_empty());
            assert!(said.contains("this kernel has no SELinux"), "{said}");
            assert!(said.contains("--best-effort"), "{said}");
            // The weaker thing, when it is asked for, and the report says it.
            let best = [options, &["--best-effort", "--report", "2"]].concat();
            let output = closed(*whose, &best, "echo ran");
            assert_eq!((code(&output), &output.stdout[..]), (0, &b"ran\n"[..]));
            let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
            let outside = report["closed"]["outside"].to_string();
            assert!(outside.contains("SELinux is not in force"), "{outside}");
        }
    }
}

#[test]
fn a_part_of_a_context_is_a_word() {
    for options in [
        ["--selinux-type", ""],
        ["--selinux-type", "a:b"],
        ["--selinux-type", "x_t\" rw"],
        ["--selinux-level", "s0 u"],
    ] {
        let output = Command::new(crate::support::binary().path())
            .arg("run")
            .args(options)
            .args(["--", "true"])
            .output()
            .unwrap();
        let said = errors(&output);
        assert_eq!(code(&output), 125, "{said}");
        assert!(said.contains("does not take"), "{said}");
    }
}
