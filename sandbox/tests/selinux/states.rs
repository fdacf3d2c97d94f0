//! SELinux that refuses nothing, or cannot be asked: an error, or with `--best-effort` the weaker
//! thing, and the report says it.

use crate::machine::{
    CASES, LAUNCHER, Named, Said, closed, enforce, labelled, mount_selinuxfs, read_only_selinuxfs,
    said, start, unmount_selinuxfs,
};

pub(crate) const TESTS: &[Named] = &[
    ("permissive", permissive),
    ("a_permissive_type", a_permissive_type),
    ("selinuxfs_read_only", selinuxfs_read_only),
    ("selinuxfs_not_mounted", selinuxfs_not_mounted),
    ("by_landlock_alone", by_landlock_alone),
];

const CONTEXT: &str = "cat /proc/self/attr/current; echo";

/// At a level of the test's choice.
fn at_level(kind: &str, further: &[&str]) -> Said {
    let options = ["--selinux-type", kind, "--selinux-level", "s0:c1"];
    closed(&[&options, further].concat(), CONTEXT)
}

/// Refused for this reason, or done in this context and the reason said.
fn weaker(kind: &str, why: &str) -> Said {
    at_level(kind, &[]).refused(125, &[why, "--best-effort"]);
    let answer = at_level(kind, &["--best-effort", "--verbose"]);
    answer.is(&format!("u:r:{kind}:s0:c1"));
    let line = answer
        .errors
        .lines()
        .find(|line| line.contains("not in force"));
    assert!(line.is_some_and(|line| line.contains(why)), "{answer:?}");
    answer
}

fn permissive() {
    enforce(false);
    let answer = std::panic::catch_unwind(|| weaker("sandbox_t", "permissive"));
    enforce(true);
    answer.unwrap();
}

fn a_permissive_type() {
    weaker("lenient_t", "nothing is refused to it");
}

fn selinuxfs_read_only() {
    read_only_selinuxfs(true);
    let answer = std::panic::catch_unwind(|| weaker("sandbox_t", "is read-only"));
    read_only_selinuxfs(false);
    answer.unwrap();
}

fn selinuxfs_not_mounted() {
    unmount_selinuxfs();
    let answer = std::panic::catch_unwind(|| weaker("sandbox_t", "no selinuxfs is mounted"));
    mount_selinuxfs();
    answer.unwrap();
}

/// Where namespaces are refused the context is the same. /proc cannot be read there, so it is seen
/// by what the level may read.
fn by_landlock_alone() {
    let file = labelled("at-level", "u:object_r:sandbox_file_t:s0:c0,c1", b"read\n");
    let most = "/proc/sys/user/max_user_namespaces";
    let before = std::fs::read_to_string(most).unwrap();
    std::fs::write(most, "0").unwrap();
    let read = |level| {
        let kind = ["--selinux-type", "sandbox_t", "--selinux-level", level];
        let program = [
            "--best-effort",
            "--verbose",
            "--ro",
            CASES,
            "--",
            "cat",
            &file,
        ];
        said(start(LAUNCHER, true, &[&kind[..], &program].concat()))
    };
    let answers = ["s0:c0,c1", "s0:c0,c2"].map(read);
    std::fs::write(most, before).unwrap();
    let [own, others] = answers;
    own.is("read");
    assert!(own.errors.contains("closed by Landlock"), "{own:?}");
    others.denied();
}
