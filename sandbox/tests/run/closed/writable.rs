//! What `--rw` lets stay, and what not even that lets happen.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{Shared, closed, printed};
use crate::support::{Whose, code, errors, has, users};

#[test]
fn what_is_written_stays_and_belongs_to_the_owner_of_the_directory() {
    for whose in users() {
        let dir = Shared::new();
        dir.file("old", "x");
        dir.give_for(*whose);
        let owner = std::fs::metadata(dir.path()).unwrap();
        let text = dir.text();
        let script = format!(
            "cd {text} && echo new > new && echo more >> old && mkdir a && stat -c %u .; id -u"
        );
        let said = printed(&closed(*whose, &["--rw", &text], &script));
        let (seen, user) = said.split_once('\n').unwrap();
        assert_eq!(seen, user, "{whose:?}: the directory is the program's");
        for name in ["new", "old", "a"] {
            let made = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(
                (made.uid(), made.gid()),
                (owner.uid(), owner.gid()),
                "{name}"
            );
        }
        assert_eq!(
            std::fs::read_to_string(dir.path().join("old")).unwrap(),
            "xmore\n"
        );
    }
}

#[test]
fn root_lets_nothing_be_written_as_root() {
    if !has("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    for (uid, gid) in [(0, 0), (1234, 0), (0, 1234)] {
        let dir = Shared::new();
        dir.give(uid, gid);
        let output = closed(Whose::Own, &["--rw", &dir.text()], "true");
        assert_eq!(code(&output), 125, "{uid}:{gid}");
        assert!(
            errors(&output).contains("belongs to root"),
            "{}",
            errors(&output)
        );
    }
}

/// Every call that gives a file its mode, with set-id bits; each prints its name if it worked.
const SET_ID: &str = r#"
    sub t { my ($n, @a) = @_; syscall($n, @a) }
    chmod 04755, "file" and print "chmod\n";
    open(my $f, "<", "file"); chmod 02755, $f and print "fchmod\n";
    umask 0;
    for my $mode (04755, 02755, 06777) {
        t(FCHMODAT, -100, "file", $mode) == 0 and print "fchmodat\n";
        t(FCHMODAT2, -100, "file", $mode, 0) == 0 and print "fchmodat2\n";
        t(OPENAT, -100, "made", 0101, $mode) >= 0 and print "openat\n";
        t(OPENAT, -100, ".", 020200001 | 2, $mode) >= 0 and print "tmpfile\n";
        t(MKDIRAT, -100, "dir", $mode) == 0 and print "mkdirat\n";
        t(MKNODAT, -100, "node", 0100000 | $mode, 0) == 0 and print "mknodat\n";
        my $how = pack("QQQ", 0101, $mode, 0);
        t(OPENAT2, -100, "made2", $how, 24) >= 0 and print "openat2\n";
    }
    print "end\n";
"#;

#[test]
fn no_file_that_stays_gets_a_set_id_bit() {
    use nix::libc;
    let calls = [
        ("FCHMODAT2", libc::SYS_fchmodat2),
        ("FCHMODAT", libc::SYS_fchmodat),
        ("OPENAT2", libc::SYS_openat2),
        ("OPENAT", libc::SYS_openat),
        ("MKDIRAT", libc::SYS_mkdirat),
        ("MKNODAT", libc::SYS_mknodat),
    ];
    let script = calls
        .iter()
        .fold(SET_ID.to_owned(), |script, (name, number)| {
            script.replace(name, &number.to_string())
        });
    for whose in users() {
        let dir = Shared::new();
        dir.file("file", "x");
        dir.give_for(*whose);
        let text = dir.text();
        let command = format!("cd {text} && exec perl -e '{script}'");
        let output = closed(*whose, &["--rw", &text], &command);
        assert_eq!(printed(&output), "end", "{whose:?}");
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o6000, 0, "{whose:?}: {entry:?}");
        }
    }
}

#[test]
fn the_most_specific_path_wins_and_stays_where_it_is() {
    for whose in users() {
        let dir = Shared::new();
        dir.file("a/b/file", "as it was");
        dir.give_for(*whose);
        let text = dir.text();
        let below = format!("{text}/a/b");
        let script = format!(
            "cd {text} && : > a/new || exit 2; \
             for what in ': > a/b/new' 'echo x > a/b/file' 'rm a/b/file' 'mv a/b a/c' 'mv a c' \
             'rm -r a/b' 'rmdir a/b'; do \
             if sh -c \"$what\" 2> /dev/null; then echo \"$what\"; fi; done"
        );
        for options in [
            ["--rw", &text, "--ro", &below],
            ["--ro", &below, "--rw", &text],
        ] {
            assert_eq!(printed(&closed(*whose, &options, &script)), "", "{whose:?}");
            let file = std::fs::read_to_string(format!("{below}/file")).unwrap();
            assert_eq!(file, "as it was", "{whose:?}");
        }
    }
}

#[test]
fn what_others_would_run_later_stays_read_only_for_an_agent() {
    for whose in users() {
        let dir = Shared::new();
        dir.file(".git/hooks/pre-commit", "x");
        dir.file(".git/config", "x");
        dir.file(".envrc", "x");
        dir.give_for(*whose);
        let text = dir.text();
        let script = format!(
            "cd {text} && : > .git/index || exit 2; \
             for file in .git/hooks/pre-commit .git/hooks/new .git/config .envrc; do \
             if sh -c \"echo y > $file\" 2> /dev/null; then echo $file; fi; done; \
             mv .git git 2> /dev/null && echo moved"
        );
        let agent = closed(*whose, &["--rw", &text], &script);
        assert_eq!(
            String::from_utf8_lossy(&agent.stdout),
            "",
            "{whose:?}: {}",
            errors(&agent)
        );
        let build = closed(*whose, &["--rw", &text, "--preset", "build"], &script);
        let said = String::from_utf8_lossy(&build.stdout).into_owned();
        assert!(
            said.contains(".git/hooks/new") && said.contains("moved"),
            "{whose:?}: {said}"
        );
    }
}

#[test]
fn a_link_that_was_planted_leads_to_no_other_mount() {
    for whose in users() {
        let (dir, victim) = (Shared::new(), Shared::new());
        victim.file("file", "as it was");
        victim.give_for(*whose);
        dir.give_for(*whose);
        let (text, target) = (dir.text(), victim.text());
        std::os::unix::fs::symlink(&target, dir.path().join("out")).unwrap();
        // What a program could leave for the next run: a link where a directory is expected.
        let out = format!("{text}/out");
        let script = format!("cat {out}/file; echo x 2> /dev/null > {out}/file && echo written");
        let output = closed(*whose, &["--rw", &text, "--ro", &out], &script);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "as it was",
            "{whose:?}"
        );
        let protected = dir.path().join(".envrc");
        std::os::unix::fs::symlink(&target, protected).unwrap();
        let output = closed(*whose, &["--rw", &text], &format!("ls {target}"));
        assert_ne!(code(&output), 0, "{whose:?}");
    }
}

#[test]
fn the_report_says_what_stays() {
    let dir = Shared::new();
    dir.give_for(Whose::Own);
    let text = dir.text();
    let output = closed(Whose::Own, &["--rw", &text, "--report", "2"], "true");
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let outside = report["closed"]["outside"].to_string();
    assert!(outside.contains(&text), "{outside}");
    assert!(
        report["closed"]["what"].to_string().contains("/usr"),
        "{report}"
    );
}

#[test]
fn changes_to_an_overlay_vanish() {
    for whose in users() {
        let dir = Shared::new();
        dir.file("old", "as it was\n");
        dir.file("gone", "x");
        dir.file("a/file", "x");
        if *whose == Whose::Ordinary {
            dir.give_for(*whose);
        }
        let text = dir.text();
        let script = format!(
            "cd {text} && echo new > new && echo more >> old && rm gone && mv a/file a/other && \
             cat old new && ls"
        );
        let output = closed(*whose, &["--overlay", &text], &script);
        let expected = "as it was\nmore\nnew\na\nnew\nold";
        assert_eq!(printed(&output), expected, "{whose:?}");
        let names: std::collections::BTreeSet<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(Vec::from_iter(names), ["a", "gone", "old"], "{whose:?}");
        let old = std::fs::read_to_string(dir.path().join("old")).unwrap();
        assert_eq!(old, "as it was\n", "{whose:?}");
        // What is more specific is as it says.
        let inner = format!("{text}/a");
        let script = format!("echo x > {text}/b && ! touch {text}/a/new 2> /dev/null");
        let output = closed(*whose, &["--overlay", &text, "--ro", &inner], &script);
        assert_eq!(code(&output), 0, "{whose:?}: {}", errors(&output));
    }
}
