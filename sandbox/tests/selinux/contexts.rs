//! What a program in a context of its own may do and may not.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use crate::machine::{LAUNCHER, Named, closed, closed_as, labelled, mount_unlabeled, said, start};

pub(crate) const TESTS: &[Named] = &[
    ("confined_to_its_context", confined_to_its_context),
    ("private_files_have_its_label", private_files_have_its_label),
    ("a_level_keeps_runs_apart", a_level_keeps_runs_apart),
    ("levels_are_one_runs_each", levels_are_one_runs_each),
    (
        "a_bounded_type_under_no_new_privs",
        a_bounded_type_under_no_new_privs,
    ),
    ("files_without_a_label", files_without_a_label),
    (
        "a_program_that_may_not_be_signalled_ends",
        a_program_that_may_not_be_signalled_ends,
    ),
    (
        "a_level_above_the_launchers_is_refused",
        a_level_above_the_launchers_is_refused,
    ),
    (
        "an_ordinary_user_has_contexts_too",
        an_ordinary_user_has_contexts_too,
    ),
];

const CONTEXT: &str = "cat /proc/self/attr/current; echo";

fn confined_to_its_context() {
    let secret = labelled("secret", "u:object_r:secret_t:s0", b"secret\n");
    let read = format!("cat {secret}");
    closed(&[], &read).is("secret");
    let of_type = ["--selinux-type", "sandbox_t"];
    closed(&of_type, &read).denied();
    let context = closed(&of_type, CONTEXT).out;
    let categories = context.strip_prefix("u:r:sandbox_t:s0:c");
    assert!(
        categories.is_some_and(|rest| rest.contains(",c")),
        "{context}"
    );
    let level = ["--selinux-type", "sandbox_t", "--selinux-level", "s0:c3"];
    closed(&level, CONTEXT).is("u:r:sandbox_t:s0:c3");
}

fn private_files_have_its_label() {
    // The policy lets sandbox_t write sandbox_file_t and nothing else.
    let write = "echo kept > /tmp/file && cat /tmp/file; echo x > /dev/shm/file";
    closed(&["--selinux-type", "sandbox_t"], write).is("kept");
    let no_such_files = ["--selinux-type", "bounded_t"];
    closed(&no_such_files, "echo x > /tmp/file").denied();
}

fn a_level_keeps_runs_apart() {
    let file = labelled(
        "others",
        "u:object_r:sandbox_file_t:s0:c0,c1",
        b"one's own\n",
    );
    let read = format!("cat {file}");
    let at = |level| {
        closed(
            &["--selinux-type", "sandbox_t", "--selinux-level", level],
            &read,
        )
    };
    at("s0:c0,c1").is("one's own");
    at("s0:c0,c2").denied();
}

fn levels_are_one_runs_each() {
    // Three categories make three pairs.
    let launcher = "u:r:launcher_t:s0-s0:c0.c2";
    let args = ["--selinux-type", "sandbox_t", "--", "/bin/sh", "-c"];
    let script = "cat /proc/self/attr/current; echo; read line";
    let begin = || {
        let mut run = start(launcher, false, &[&args[..], &[script]].concat());
        let mut level = String::new();
        let mut out = BufReader::new(run.stdout.take().unwrap());
        out.read_line(&mut level).unwrap();
        if level.is_empty() {
            let mut why = String::new();
            run.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            level = why;
        }
        (run, level)
    };
    let mut runs: Vec<(Child, String)> = (0..3).map(|_| begin()).collect();
    let mut levels: Vec<_> = runs.iter().map(|(_, level)| level.clone()).collect();
    levels.sort_unstable();
    levels.dedup();
    assert_eq!(levels.len(), 3, "{levels:?}");
    let begins = |level: &String| level.starts_with("u:r:sandbox_t:s0:c");
    assert!(levels.iter().all(begins), "{levels:?}");
    let (fourth, why) = begin();
    assert!(why.contains("is taken by a run"), "{why}");
    assert_eq!(said(fourth).code, 125);
    // The end of one gives its level back.
    let (run, freed) = runs.pop().unwrap();
    said(run);
    let (again, level) = begin();
    assert_eq!(level, freed);
    said(again);
    for (run, _) in runs {
        said(run);
    }
}

fn a_bounded_type_under_no_new_privs() {
    // The policy has no nnp_transition for it: it may do nothing that the launcher may not.
    let level = ["--selinux-type", "bounded_t", "--selinux-level", "s0:c1"];
    closed(&level, CONTEXT).is("u:r:bounded_t:s0:c1");
}

fn files_without_a_label() {
    mount_unlabeled("/mnt/unlabeled");
    std::fs::write("/mnt/unlabeled/file", "open\n").unwrap();
    let show = ["--ro", "/mnt/unlabeled"];
    closed(&show, "cat /mnt/unlabeled/file").is("open");
    let of_type = [&show[..], &["--selinux-type", "sandbox_t"]].concat();
    closed(&of_type, "cat /mnt/unlabeled/file").denied();
}

fn a_program_that_may_not_be_signalled_ends() {
    // The policy allows the launcher no signal to sandbox_t. Init's own end takes none.
    let options = ["--selinux-type", "sandbox_t", "-t", "1s", "--verbose"];
    let over = closed(&options, "sleep 1000 & sleep 1000");
    assert_eq!(over.code, 124, "{over:?}");
    assert!(over.errors.contains("proved: init reaped"), "{over:?}");
}

fn an_ordinary_user_has_contexts_too() {
    let script = format!("echo x > /tmp/file && cat /tmp/file && {CONTEXT}");
    let level = ["--selinux-type", "sandbox_t", "--selinux-level", "s0:c1"];
    let args = [&level[..], &["--", "/bin/sh", "-c", &script]].concat();
    said(start(LAUNCHER, true, &args)).is("x\nu:r:sandbox_t:s0:c1");
}

fn a_level_above_the_launchers_is_refused() {
    let above = |kind| ["--selinux-type", kind, "--selinux-level", "s0:c1"];
    let low = |options: &[&str]| closed_as("u:r:launcher_t:s0", options, CONTEXT);
    // Its files have the level, too; bounded_t has no files of its own.
    low(&above("sandbox_t")).refused(125, &["does not let u:r:launcher_t:s0 write private files"]);
    low(&above("bounded_t")).refused(126, &["a constraint that lets u:r:launcher_t:s0"]);
    let own = ["--selinux-type", "sandbox_t"];
    low(&own).is("u:r:sandbox_t:s0");
}
