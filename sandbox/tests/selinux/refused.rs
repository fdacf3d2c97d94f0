//! Contexts that the program cannot have: nothing runs, and the missing line of policy is named.

use crate::machine::{Named, closed, labelled, said, start};

pub(crate) const TESTS: &[Named] = &[
    (
        "a_change_that_the_policy_refuses",
        a_change_that_the_policy_refuses,
    ),
    ("no_new_privs_and_nosuid", no_new_privs_and_nosuid),
    ("contexts_that_there_are_not", contexts_that_there_are_not),
    ("a_program_that_is_no_entry", a_program_that_is_no_entry),
];

const RAN: &str = "echo ran";

fn a_change_that_the_policy_refuses() {
    let words = ["EACCES", "allow launcher_t refused_t:process transition;"];
    closed(&["--selinux-type", "refused_t"], RAN).refused(126, &words);
    let both = [
        "allow launcher_t untouched_t:process transition;",
        "allow launcher_t untouched_t:process2 { nnp_transition nosuid_transition };",
    ];
    closed(&["--selinux-type", "untouched_t"], RAN).refused(126, &both);
}

fn no_new_privs_and_nosuid() {
    let words = [
        "EPERM",
        "allow launcher_t newprivs_t:process2 { nnp_transition nosuid_transition };",
        "typebounds launcher_t newprivs_t;",
    ];
    let answer = closed(&["--selinux-type", "newprivs_t"], RAN);
    answer.refused(126, &words);
    assert!(!answer.errors.contains("process transition"), "{answer:?}");
}

fn contexts_that_there_are_not() {
    for options in [
        ["--selinux-type", "nothing_t", "--selinux-level", "s0"],
        ["--selinux-type", "sandbox_t", "--selinux-level", "s0:c99"],
        ["--selinux-type", "sandbox_t", "--selinux-level", "s1"],
        ["--selinux-type", "secret_t", "--selinux-level", "s0"],
    ] {
        let best = [&options[..], &["--best-effort"]].concat();
        for options in [&options[..], &best[..]] {
            closed(options, RAN).refused(125, &["the policy has no context u:r:"]);
        }
    }
}

fn a_program_that_is_no_entry() {
    let cat = std::fs::read("/bin/cat").unwrap();
    let path = labelled("program", "u:object_r:noentry_t:s0", &cat);
    let run = |of_type: &[&str]| {
        let program = ["--ro", &path, "--", &path, "/proc/self/attr/current"];
        let launcher = crate::machine::LAUNCHER;
        said(start(launcher, false, &[of_type, &program].concat()))
    };
    assert_eq!(run(&[]).code, 0);
    let words = ["EACCES", "allow sandbox_t noentry_t:file entrypoint;"];
    run(&["--selinux-type", "sandbox_t"]).refused(126, &words);
}
