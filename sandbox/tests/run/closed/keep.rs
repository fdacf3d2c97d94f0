//! `--include` and `--keep`: copies in and out, and what a hostile program plants for them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Shared, closed, printed};
use crate::support::{Whose, code, errors, users};

/// A directory that the launcher of `whose` may write to.
fn mine(whose: Whose) -> Shared {
    let dir = Shared::new();
    if whose == Whose::Ordinary {
        dir.give(65_534, 65_534);
    }
    dir
}

fn keep(whose: Whose, path: &str, dest: &Path, script: &str) -> std::process::Output {
    let keep = format!("{path}={}", dest.display());
    closed(whose, &["--keep", &keep], script)
}

#[test]
fn what_is_kept_is_copied_when_all_is_over() {
    for whose in users() {
        let dir = mine(*whose);
        let dest = dir.path().join("out");
        // Its writer outlives the main process.
        let script = "mkdir -p /tmp/out/a/b; echo one > /tmp/out/a/one; cd /tmp/out; \
                      echo 'exit 0' > run; chmod 755 run; \
                      (sleep 0.3; echo late > /tmp/out/a/b/late) & exit 0";
        let output = keep(*whose, "/tmp/out", &dest, script);
        assert_eq!(
            (code(&output), errors(&output)),
            (0, String::new()),
            "{whose:?}"
        );
        let read = |name: &str| std::fs::read_to_string(dest.join(name)).unwrap();
        assert_eq!(
            (read("a/one"), read("a/b/late")),
            ("one\n".to_owned(), "late\n".to_owned())
        );
        let run = std::fs::metadata(dest.join("run")).unwrap();
        assert_eq!(
            run.permissions().mode() & 0o111,
            0o111 & run.permissions().mode()
        );
        assert_ne!(run.permissions().mode() & 0o100, 0);
        let own = std::fs::metadata(dir.path()).unwrap();
        assert_eq!(run.uid(), own.uid(), "{whose:?}");
    }
}

#[test]
fn a_file_of_the_home_and_of_a_covered_directory_is_kept() {
    for whose in users() {
        let (dir, shown) = (mine(*whose), Shared::new());
        shown.file("below/file", "of the host");
        let below = format!("{}/below", shown.text());
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let script = format!("echo 1 > ~/one; echo 2 > {below}/two; cp ~/one {below}/copy");
        let home = std::env::var("HOME").unwrap();
        let keep_one = format!("{home}/one={}", one.display());
        let keep_two = format!("{below}/two={}", two.display());
        let options = [
            "--ro",
            &shown.text(),
            "--tmpfs",
            &below,
            "--keep",
            &keep_one,
            "--keep",
            &keep_two,
        ];
        let output = closed(*whose, &options, &script);
        assert_eq!(
            (code(&output), errors(&output)),
            (0, String::new()),
            "{whose:?}"
        );
        assert_eq!(std::fs::read_to_string(one).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(two).unwrap(), "2\n");
    }
}

#[test]
fn what_was_planted_is_not_copied_and_said() {
    let secret = Shared::new();
    let secret = secret.file("secret", "of the host");
    for whose in users() {
        let dir = mine(*whose);
        let dest = dir.path().join("out");
        let script = format!(
            "mkdir /tmp/out && cd /tmp/out && echo good > good && ln -s {0} link && \
             ln -s / root && mkfifo fifo && cp /usr/bin/id set && chmod 6755 set && \
             perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); \
             bind($s, sockaddr_un(\"sock\"))' && \
             exec perl -e 'for (1..200) {{ mkdir \"d\" or die $!; chdir \"d\" or die $! }}'",
            secret.display()
        );
        let output = keep(*whose, "/tmp/out", &dest, &script);
        let said = errors(&output);
        assert_eq!(code(&output), 125, "{whose:?}: {said}");
        for word in ["link", "root", "fifo", "sock", "too deep"] {
            assert!(said.contains(word), "{whose:?}: {word}: {said}");
        }
        let mut names: Vec<_> = std::fs::read_dir(&dest)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["d", "good", "set"], "{whose:?}");
        let mode = std::fs::metadata(dest.join("set"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o6000, 0, "{whose:?}: {mode:o}");
    }
}

#[test]
fn a_link_as_the_path_itself_or_above_it_leads_nowhere() {
    let secret = Shared::new();
    secret.file("secret", "of the host");
    let secret = secret.text();
    for whose in users() {
        for (path, script) in [
            ("/tmp/out", format!("ln -s {secret} /tmp/out")),
            ("/tmp/out/secret", format!("ln -s {secret} /tmp/out")),
            ("/tmp/out/secret", format!("ln -s ../..{secret} /tmp/out")),
        ] {
            let dir = mine(*whose);
            let dest = dir.path().join("dest");
            let output = keep(*whose, path, &dest, &script);
            assert_eq!(code(&output), 125, "{whose:?} {path}: {}", errors(&output));
            assert!(!dest.exists(), "{whose:?} {path}");
        }
    }
}

#[test]
fn a_file_with_holes_is_no_larger_than_the_private_space() {
    for whose in users() {
        let dir = mine(*whose);
        let keep = format!("/tmp/big={}", dir.path().join("big").display());
        let options = ["--space", "1M", "--keep", &keep];
        let output = closed(*whose, &options, "truncate -s 1T /tmp/big");
        assert_eq!(code(&output), 125, "{whose:?}");
        assert!(errors(&output).contains("--space"), "{}", errors(&output));
        let kept = std::fs::metadata(dir.path().join("big")).unwrap();
        assert!(kept.len() <= 1 << 20, "{}", kept.len());
    }
}

#[test]
fn a_destination_that_exists_or_cannot_be_made_is_refused_before_the_start() {
    for whose in users() {
        let dir = mine(*whose);
        let taken = dir.file("taken", "mine");
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("link")).unwrap();
        let ran = dir.path().join("ran");
        for (path, dest, word) in [
            ("/tmp/x", taken.clone(), "exists already"),
            ("/tmp/x", dir.path().join("link"), "exists already"),
            ("/tmp/x", dir.path().join("none/x"), "ENOENT"),
            ("/usr/bin/id", dir.path().join("id"), "private places"),
        ] {
            let output = keep(*whose, path, &dest, "echo ran");
            let said = errors(&output);
            assert_eq!(code(&output), 125, "{whose:?} {dest:?}: {said}");
            assert!(said.contains(word), "{whose:?} {dest:?}: {said}");
            assert_eq!(output.stdout, b"", "{whose:?}: it was started");
        }
        assert!(!ran.exists());
        assert_eq!(std::fs::read_to_string(taken).unwrap(), "mine");
    }
}

#[test]
fn a_program_that_failed_keeps_its_exit_code() {
    for whose in users() {
        let dir = mine(*whose);
        let output = keep(*whose, "/tmp/absent", &dir.path().join("x"), "exit 7");
        assert_eq!(code(&output), 7, "{whose:?}");
        assert!(
            errors(&output).contains("/tmp/absent"),
            "{}",
            errors(&output)
        );
        let output = keep(*whose, "/tmp/absent", &dir.path().join("x"), "exit 0");
        assert_eq!(code(&output), 125, "{whose:?}");
    }
}

#[test]
fn what_is_copied_in_is_the_programs_own() {
    for whose in users() {
        let dir = Shared::new();
        let file = dir.file("conf/file", "of the host\n");
        std::os::unix::fs::symlink("file", dir.path().join("conf/link")).unwrap();
        let text = dir.text();
        let (conf, twice) = (
            format!("{text}/conf=/run/a/conf"),
            format!("{text}/conf/file=/tmp/f"),
        );
        let script = "cat /run/a/conf/link && echo mine > /run/a/conf/file && \
                      echo more >> /tmp/f && \
                      : > /run/a/conf/new && cat /run/a/conf/file /tmp/f";
        let output = closed(*whose, &["--include", &conf, "--include", &twice], script);
        assert_eq!(
            printed(&output),
            "of the host\nmine\nof the host\nmore",
            "{whose:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "of the host\n");
        for (include, word) in [
            (format!("{text}/none=/tmp/x"), "none"),
            (format!("{text}/conf=/usr/conf"), "private"),
            (format!("{text}/conf"), "private"),
        ] {
            // Below the tests' directory of the host nothing is private, unless that is /tmp.
            let output = closed(*whose, &["--include", &include], "true");
            let private =
                text.starts_with("/tmp/") && include.ends_with("conf") && !include.contains('=');
            let expected = if private { 0 } else { 125 };
            assert_eq!(code(&output), expected, "{include}: {}", errors(&output));
            assert!(
                private || errors(&output).contains(word),
                "{}",
                errors(&output)
            );
        }
    }
}
