//! `--net public`, beside a local network and an Internet that the test makes.

use allgone::layout::{Layout, Paths};

use super::closed;
use super::internet::{
    CLIENT, PUBLIC, REACHABLE, RESOLVER, UNREACHABLE, beside_the_internet, each, tried,
};
use super::printed;
use crate::support::{Whose, code, errors, has};

/// Whether there is what the test takes; a machine of root's has it.
pub(super) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(super) const CLOSED: &[&str] = &["--net", "public"];

#[test]
fn no_address_of_a_registry_is_reached_and_the_internet_is() {
    if !has("root", is_root()) {
        return;
    }
    let rows = each("tcp", &[REACHABLE, UNREACHABLE].concat(), 80);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        assert_eq!(*line, format!("{row} {}", nix::libc::EPERM));
    }
    // The filter of packets by itself: no call says where a datagram goes before it is sent.
    let rows = each("udp", &[REACHABLE, &[RESOLVER]].concat(), 7);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        assert_eq!(*line, format!("{row} {}", nix::libc::EPERM));
    }
    let rows = each("udp", UNREACHABLE, 7);
    for (line, row) in tried(CLOSED, &rows).iter().zip(&rows) {
        let answer = line.rsplit(' ').next().unwrap();
        assert!(
            answer.parse::<i32>().is_ok_and(|errno| errno > 0),
            "{row}: {line}"
        );
    }
    let mapped = format!("tcp,::ffff:{},80", PUBLIC[0]);
    let good = [each("tcp", PUBLIC, 80), vec![mapped]].concat();
    let expected: Vec<_> = good.iter().map(|line| format!("{line} ok")).collect();
    assert_eq!(tried(CLOSED, &good), expected);
    // The same addresses without the filter: that they are there is no assumption.
    let rows = each("tcp", &[REACHABLE, PUBLIC].concat(), 80);
    let expected: Vec<_> = rows.iter().map(|line| format!("{line} ok")).collect();
    assert_eq!(tried(&["--bare"], &rows), expected);
}

#[test]
fn datagrams_go_both_ways_with_the_internet_alone() {
    if !has("root", is_root()) {
        return;
    }
    let tries = [
        each("udp", PUBLIC, 7),
        each("big", PUBLIC, 7),
        each("big", &["10.0.0.1", "fd00::1"], 7),
        each("any", &PUBLIC[..1], 9),
    ]
    .concat();
    let answers = |options| -> Vec<String> {
        let lines = tried(options, &tries);
        lines
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let no = nix::libc::EPERM.to_string();
    let no = no.as_str();
    assert_eq!(
        answers(CLOSED),
        ["got1", "got1", "got4000", "got4000", no, no, "public"]
    );
    // Without the filter the answer from the private address, which is first, is taken.
    assert_eq!(
        answers(&["--bare"]),
        [
            "got1", "got1", "got4000", "got4000", "got4000", "got4000", "private"
        ]
    );
}

#[test]
fn names_are_resolved_by_the_configured_resolver_alone_until_that_is_closed() {
    if !has("root", is_root()) {
        return;
    }
    let no = nix::libc::EPERM;
    let tries = [
        each("tcp", &[RESOLVER, "10.0.0.1"], 53),
        each("udp", &[RESOLVER, "10.0.0.1"], 53),
        each("tcp", &[RESOLVER], 80),
    ]
    .concat();
    let answers = |options| -> Vec<String> {
        let lines = tried(options, &tries);
        lines
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    };
    let no = no.to_string();
    let no = no.as_str();
    assert_eq!(answers(CLOSED), ["ok", no, "got1", no, no]);
    assert_eq!(
        answers(&["--net", "public", "--no-dns"]),
        [no, no, no, no, no]
    );
}

#[test]
fn more_can_be_allowed_and_refused() {
    if !has("root", is_root()) {
        return;
    }
    let no = nix::libc::EPERM.to_string();
    let tries = [
        each(
            "tcp",
            &["10.0.0.1", "192.168.0.1", "8.8.8.8", "fd00::1"],
            80,
        ),
        each("tcp", &["10.0.0.1"], 53),
        each("bind", &["0.0.0.0", "::"], 5555),
        each("bind", &["0.0.0.0", "::"], 0),
    ]
    .concat();
    let options = [
        "--net",
        "public",
        "--allow-net",
        "10.0.0.0/24:80",
        "--deny-net",
        "8.8.0.0/16",
        "--allow-net",
        "[fd00::]/8",
    ];
    let lines = tried(&options, &tries);
    let answers: Vec<_> = lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let no = no.as_str();
    assert_eq!(answers, ["ok", no, no, "ok", no, no, no, "ok", "ok"]);
}

#[test]
fn an_address_that_comes_later_is_refused_then() {
    if !has("root", is_root()) {
        return;
    }
    let tries = ["tcp,7.7.7.2,80", "wait", "until,tcp,7.7.7.2,80"].map(str::to_owned);
    let tries: Vec<_> = tries.iter().map(String::as_str).collect();
    let words = [CLOSED, &["-t", "60s", "--", "perl", "-e", CLIENT], &tries].concat();
    // The machine gets an address of the network that the program has just reached.
    let step = "    mkfifo \"$READY.in\" \"$READY.out\"\n\
                    \"$@\" < \"$READY.in\" > \"$READY.out\" & job=$!\n\
                    exec 5> \"$READY.in\" 6< \"$READY.out\"\n\
                    read line <&6; echo \"$line\"; read line <&6\n\
                    ip addr add 7.7.7.1/24 dev near\n\
                    echo go >&5; read line <&6; echo \"$line\"; wait $job\n";
    let output = beside_the_internet(&words, Some(step));
    assert_eq!(
        printed(&output),
        "tcp,7.7.7.2,80 ok\nuntil tcp,7.7.7.2,80 1"
    );
}

#[test]
fn what_cannot_be_had_is_refused() {
    let refused = |whose, options: &[&str]| {
        let output = closed(whose, options, "true");
        assert_eq!(code(&output), 125, "{options:?}");
        errors(&output)
    };
    assert!(refused(Whose::Ordinary, CLOSED).contains("root"));
    for options in [
        &["--net", "none", "--allow-net", "10.0.0.0/8"][..],
        &["--no-dns"],
        &["--net", "host", "--deny-net", "10.0.0.0/8"],
        &["--net", "public", "--allow-net", "10.0.0.0/40"],
        &["--net", "public", "--deny-net", "somewhere"],
        &["--net", "public", "--preset", "judge"],
    ] {
        let said = refused(Whose::Own, options);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn echoes_and_fragments_go_both_ways_with_the_internet_alone() {
    if !has("root", is_root()) {
        return;
    }
    let tries = [
        each("ping", PUBLIC, 0),
        each("ping", &["10.0.0.1", "192.168.0.1", "fd00::1", RESOLVER], 0),
        // Answered from a private address first, whole and in fragments.
        each("any", PUBLIC, 9),
        each("any", PUBLIC, 10),
        each("raw", &["8.8.8.8"], 1),
        each("raw", &["2600::1"], 58),
        each("raw", &["8.8.8.8", "2600::1"], 255),
    ]
    .concat();
    let answers = |options| -> Vec<String> {
        let lines = tried(options, &tries);
        let answers = lines.iter().map(|line| line.rsplit(' ').next().unwrap());
        answers.map(str::to_owned).collect()
    };
    let no = nix::libc::EPERM.to_string();
    let no = no.as_str();
    let expected = [
        vec!["public"; 2],
        vec![no, no, "public", no],
        vec!["public"; 4],
        vec![no; 4],
    ]
    .concat();
    assert_eq!(answers(CLOSED), expected);
    // Without the filter everything gets through, and the private answer is the first.
    let answers = answers(&["--bare"]);
    assert_eq!(answers[..10], ["private"; 10]);
}

#[test]
fn it_is_still_closed_when_the_launcher_has_been_killed() {
    if !has("root", is_root()) {
        return;
    }
    let own = Layout::read(&Paths::default()).unwrap().own_v2().unwrap();
    let frozen = own.join(format!("allgone-test-{}", std::process::id()));
    std::fs::create_dir(&frozen).unwrap();
    let private = [
        "tcp,10.0.0.1,80",
        "udp,10.0.0.1,7",
        "udp,fd00::1,7",
        "ping,10.0.0.1,0",
    ];
    let tries = [&private[..], &["tcp,8.8.8.8,80", "bind,0.0.0.0,5555"]].concat();
    let tries = [&["wait"], &tries[..]].concat();
    let words = [CLOSED, &["-t", "60s", "--", "perl", "-e", CLIENT], &tries].concat();
    // Init would end the program at once: it is frozen before the launcher is killed.
    let step = "    mkfifo \"$READY.in\" \"$READY.out\"\n\
                    \"$@\" < \"$READY.in\" > \"$READY.out\" & job=$!\n\
                    exec 5> \"$READY.in\" 6< \"$READY.out\"\n\
                    read line <&6\n\
                    init=$(cat /proc/$job/task/$job/children)\n\
                    echo $init > FROZEN/cgroup.procs; echo 1 > FROZEN/cgroup.freeze\n\
                    while ! grep -q 'frozen 1' FROZEN/cgroup.events; do :; done\n\
                    kill -9 $job; wait $job || true; echo go >&5\n\
                    for try in 1 2 3 4 5 6; do read line <&6; echo \"$line\"; done\n\
                    echo 0 > FROZEN/cgroup.freeze\n\
                    while grep -q . FROZEN/cgroup.procs; do :; done\n";
    let step = step.replace("FROZEN", frozen.to_str().unwrap());
    let output = beside_the_internet(&words, Some(&step));
    std::fs::remove_dir(&frozen).unwrap();
    let no = nix::libc::EPERM;
    let mut expected: Vec<_> = private.iter().map(|row| format!("{row} {no}")).collect();
    expected.push("tcp,8.8.8.8,80 ok".to_owned());
    expected.push(format!("bind,0.0.0.0,5555 {no}"));
    assert_eq!(printed(&output), expected.join("\n"));
}
