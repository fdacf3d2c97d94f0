//! What the program sees of the host's files, and that nothing of its own stays.

use std::os::unix::fs::PermissionsExt;

use super::{Shared, closed, printed};
use crate::support::{Whose, allgone, code, errors, users};

#[test]
fn what_is_not_shown_is_not_there() {
    let dir = Shared::new();
    let secret = dir.file("secret", "of the host\n");
    let secret = secret.to_str().unwrap();
    for whose in users() {
        let hidden = closed(*whose, &[], &format!("cat {secret}"));
        assert_ne!(code(&hidden), 0, "{whose:?}");
        let shown = closed(*whose, &["--ro", secret], &format!("cat {secret}"));
        assert_eq!(printed(&shown), "of the host", "{whose:?}");
        let script = format!("test ! -e {secret}; ls -A / | tr '\\n' ' '");
        let seen = printed(&closed(*whose, &[], &script));
        for name in ["sys", "mnt", "srv", "boot", "media", "opt", "work"] {
            assert!(
                !seen.split(' ').any(|seen| seen == name),
                "{whose:?}: {seen}"
            );
        }
    }
}

#[test]
fn nothing_of_the_host_can_be_changed() {
    let dir = Shared::new();
    let file = dir.file("file", "as it was\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let dir = dir.text();
    // Each of them would succeed on the host.
    let script = format!(
        "cd {dir} || exit 9; n=0; for what in 'echo x >> file' 'rm file' 'mv file other' \
         'ln file link' 'touch file' 'mkdir new' ': > new' 'ln -s x new' \
         'mkfifo new' 'touch /dev/null' ': > /usr/new'; do \
         if sh -c \"$what\" 2> /dev/null; then echo \"$what\"; fi; done"
    );
    for whose in users() {
        let output = closed(*whose, &["--ro", &dir], &script);
        assert_eq!(printed(&output), "", "{whose:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"as it was\n");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    }
}

#[test]
fn private_places_are_writable_and_vanish() {
    let mark = format!("allgone-test-{}", std::process::id());
    let script = format!(
        "for dir in /tmp /var/tmp /run /dev/shm ~; do echo x > $dir/{mark} || exit 3; done; \
         echo $HOME; mount | grep -c ' on / type tmpfs'"
    );
    for whose in users() {
        let said = printed(&closed(*whose, &[], &script));
        assert!(said.ends_with('1'), "{whose:?}: {said}");
        let home = said.lines().next().unwrap();
        for dir in ["/tmp", "/var/tmp", "/run", "/dev/shm", home] {
            let left = std::path::Path::new(dir).join(&mark);
            assert!(!left.exists(), "{whose:?}: {left:?}");
        }
    }
}

#[test]
fn one_limit_holds_for_all_private_files() {
    let script = "dd if=/dev/zero of=/tmp/a bs=64k count=24 2> /dev/null && echo first; \
                  dd if=/dev/zero of=~/b bs=64k count=24 2> /dev/null || echo full";
    for whose in users() {
        let output = closed(*whose, &["--space", "2M"], script);
        assert_eq!(printed(&output), "first\nfull", "{whose:?}");
    }
}

#[test]
fn a_path_ten_thousand_deep_vanishes() {
    let script = "cd /tmp && exec perl -e 'for (1..10000) { mkdir \"d\" or die $!; chdir \"d\" or \
                  die $! } print \"made\"'";
    for whose in users() {
        assert_eq!(printed(&closed(*whose, &[], script)), "made", "{whose:?}");
    }
}

#[test]
fn the_working_directory_is_shown_and_leads_nowhere() {
    let dir = Shared::new();
    dir.file("inner/file", "here\n");
    dir.file("outer", "above\n");
    let script =
        "pwd; cat file; cat ../outer 2> /dev/null; ls ..; touch new 2> /dev/null || echo ro";
    for whose in users() {
        let fixed = [
            "--closed",
            "--env",
            "ALLGONE_MARK",
            "--",
            "sh",
            "-c",
            script,
        ];
        let mut run = allgone(*whose, &fixed);
        let inner = dir.path().join("inner");
        run.command.current_dir(&inner);
        let said = printed(&run.output());
        let expected = format!("{}\nhere\ninner\nro", inner.display());
        assert_eq!(said, expected, "{whose:?}");

        let fixed = ["--no-cwd", "--env", "ALLGONE_MARK", "--", "sh", "-c"];
        let script = format!("pwd; test -e {} || echo hidden", inner.display());
        let mut run = allgone(*whose, &[&fixed[..], &[&script]].concat());
        run.command.current_dir(&inner);
        let said = printed(&run.output());
        assert!(said.ends_with("hidden"), "{whose:?}: {said}");
        assert!(!said.contains("inner\n"), "{whose:?}: {said}");
    }
}

#[test]
fn a_directory_as_standard_input_is_refused() {
    let run = |whose| {
        let mut run = allgone(whose, &["--closed", "--", "true"]);
        run.command.stdin(std::fs::File::open("/").unwrap());
        run.output()
    };
    for whose in users() {
        let output = run(*whose);
        assert_eq!(code(&output), 125, "{whose:?}");
        assert!(
            errors(&output).contains("standard input"),
            "{}",
            errors(&output)
        );
    }
}

#[test]
fn other_descriptors_are_closed() {
    // One digit: shells differ in what they make of more.
    let number = 7;
    let script = format!("ls /proc/self/fd/{number}/usr; echo $(ls /proc/self/fd)");
    for whose in users() {
        // The shell is the one that leaves it open for the launcher.
        let launcher = allgone(*whose, &["--closed", "--", "sh", "-c", &script]);
        let mut shell = std::process::Command::new("sh");
        let words = launcher.command.get_args();
        shell
            .args(["-c", &format!("exec {number}< /; exec \"$0\" \"$@\"")])
            .arg(launcher.command.get_program())
            .args(words)
            .current_dir("/");
        let output = shell.output().unwrap();
        // 3 is the directory that ls reads.
        assert_eq!(printed(&output), "0 1 2 3", "{whose:?}");
    }
}

#[test]
fn a_private_directory_hides_what_is_below_and_none_is_made() {
    let dir = Shared::new();
    dir.file("a/b/secret", "x");
    let (dir, below) = (dir.text(), format!("{}/a/b", dir.text()));
    let script = format!("ls -A {below}; : > {below}/new && ls {below}; ls {dir}/a");
    for whose in users() {
        let output = closed(*whose, &["--ro", &dir, "--tmpfs", &below], &script);
        assert_eq!(printed(&output), "new\nb", "{whose:?}");
        assert_eq!(std::fs::read_dir(&below).unwrap().count(), 1);

        let absent = format!("{dir}/absent");
        let output = closed(*whose, &["--ro", &dir, "--tmpfs", &absent], "true");
        assert_eq!(code(&output), 125, "{whose:?}");
        assert!(
            errors(&output).contains("no mount point"),
            "{}",
            errors(&output)
        );
        assert!(!std::path::Path::new(&absent).exists());
    }
}

#[test]
fn the_whole_tree_is_read_only_and_its_private_places_are_hidden() {
    let dir = Shared::new();
    let secret = dir.file("secret", "x");
    let script = format!(
        "test -d /sys && test -d /proc/self || exit 2; test ! -e {} || exit 3; \
         : > /tmp/new || exit 4; mkdir /new 2> /dev/null && exit 5; \
         test $(ls /proc | grep -c '^[0-9]') -lt 10 || exit 6; \
         mount | grep -v -e '(ro' -e ' on /tmp ' -e ' on /var/tmp ' -e ' on /run ' -e ' on /dev' \
         -e \" on $HOME \" -e ' on /proc ' | grep .",
        secret.display()
    );
    for whose in users() {
        let output = closed(*whose, &["--host-root"], &script);
        // Only what is private is not read-only.
        assert_eq!((code(&output), output.stdout), (1, Vec::new()), "{whose:?}");
    }
}

#[test]
fn a_program_that_is_elsewhere_is_shown_alone() {
    let dir = Shared::new();
    let program = dir.file("bin/program", "#!/bin/sh\nls $(dirname $0)\n");
    dir.file("bin/other", "x");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    for whose in users() {
        let run = allgone(
            *whose,
            &["--closed", "--env", "ALLGONE_MARK", "--", program],
        );
        assert_eq!(printed(&run.output()), "program", "{whose:?}");
    }
}

#[test]
fn the_environment_is_the_list_and_what_is_asked_for() {
    for whose in users() {
        let fixed = [
            "--closed",
            "--env",
            "ALLGONE_MARK",
            "--env",
            "SET=1",
            "--",
            "env",
        ];
        let mut run = allgone(*whose, &fixed);
        run.command.env("TOKEN", "secret").env("LD_PRELOAD", "");
        let said = printed(&run.output());
        let has = |name: &str| said.lines().any(|line| line.starts_with(name));
        assert!(has("SET=1") && has("PATH=") && has("HOME="), "{said}");
        assert!(!has("TOKEN=") && !has("LD_PRELOAD="), "{whose:?}: {said}");
    }
}

#[test]
fn each_mistake_has_one_line() {
    for (options, word) in [
        (&["--ro", "/nonexistent"][..], "/nonexistent"),
        (&["--rw", "/nonexistent"], "/nonexistent"),
        (&["--rw", "/etc/passwd"], "no directory"),
        (&["--rw", "/"], "whole tree"),
        (&["--ro", "/proc/self"], "/proc"),
        (&["--ro", "/usr/../etc"], ".."),
        (&["--space", "1"], "--space"),
        (&["--preset", "judge", "--net", "host"], "contradict"),
        (&["--bare"], "contradict"),
        (&["--tier", "traced"], "contradict"),
    ] {
        for whose in users() {
            let output = closed(*whose, options, "true");
            let said = errors(&output);
            assert_eq!(code(&output), 125, "{options:?}: {said}");
            assert!(said.contains(word), "{options:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{options:?}: {said}");
        }
    }
    let output = allgone(Whose::Own, &["--closed", "--", "no-such-program"]).output();
    assert_eq!(code(&output), 127);
    assert!(errors(&output).contains("--ro"), "{}", errors(&output));
}

#[test]
fn a_dry_run_says_what_would_hold() {
    let output = allgone(Whose::Own, &["--dry-run", "--closed", "true"]).output();
    let said = errors(&output);
    for word in [
        "pivot_root",
        "read-only \"/usr\"",
        "private, vanishes \"/tmp\"",
        "refused: ptrace",
        "seccomp",
        "environment",
        "network none",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
