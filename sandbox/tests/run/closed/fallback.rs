//! Closed by Landlock and seccomp alone, as where namespaces are refused.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::{Shared, closed, printed};
use crate::support::{Whose, allgone, code, errors, has, users};

const ALONE: [&str; 3] = ["--best-effort", "--tier", "traced"];

/// Whether this kernel has what it takes; a run says so.
fn has_landlock() -> bool {
    let output = closed(Whose::Own, &ALONE, "true");
    let present = code(&output) == 0;
    assert!(
        present || errors(&output).contains("Landlock"),
        "{}",
        errors(&output)
    );
    has("landlock", present)
}

fn alone(whose: Whose, options: &[&str], script: &str) -> std::process::Output {
    closed(whose, &[&ALONE[..], options].concat(), script)
}

#[test]
fn files_are_as_they_are_with_namespaces() {
    if !has_landlock() {
        return;
    }
    for whose in users() {
        let (shown, written, hidden) = (Shared::new(), Shared::new(), Shared::new());
        shown.file("read", "shown\n");
        hidden.file("secret", "secret\n");
        for dir in [&shown, &written, &hidden] {
            dir.file("own", "as it was\n");
            std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
            let own = dir.path().join("own");
            std::fs::set_permissions(own, PermissionsExt::from_mode(0o666)).unwrap();
        }
        let script = "cat SHOWN/read; echo new > WRITTEN/new && cat WRITTEN/new; \
                      for dir in SHOWN HIDDEN /tmp /var/tmp /run /dev/shm ~; do \
                      (echo x > $dir/own; echo x > $dir/made; mkdir $dir/dir; rm $dir/own; \
                      mv $dir/own $dir/moved; ln $dir/own WRITTEN/linked; truncate -s 0 $dir/own; \
                      chmod 600 $dir/own; touch $dir/own; cat $dir/secret; \
                      ls $dir && echo ls $dir) 2> /dev/null | grep -v -e SHOWN -e read -e own; \
                      done; \
                      cat /proc/1/environ /proc/self/status 2> /dev/null | grep .; echo end";
        let script = script
            .replace("SHOWN", &shown.text())
            .replace("WRITTEN", &written.text())
            .replace("HIDDEN", &hidden.text());
        let (ro, rw) = (shown.text(), written.text());
        let output = alone(*whose, &["--ro", &ro, "--rw", &rw], &script);
        assert_eq!(printed(&output), "shown\nnew\nend", "{whose:?}");
        for dir in [&shown, &hidden] {
            let own = dir.path().join("own");
            assert_eq!(std::fs::read(&own).unwrap(), b"as it was\n", "{whose:?}");
            let mode = std::fs::metadata(&own).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o666, "{whose:?}");
        }
        assert_eq!(std::fs::read_dir(shown.path()).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(hidden.path()).unwrap().count(), 2);
        assert!(!written.path().join("linked").exists(), "{whose:?}");
    }
}

#[test]
fn no_network_no_process_and_no_message_of_the_host_is_reached() {
    if !has_landlock() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for whose in users() {
        let dir = Shared::new();
        let path = dir.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        if *whose == Whose::Ordinary && nix::unistd::geteuid().is_root() {
            // The program's own user.
            sleeper.uid(65_534).gid(65_534);
        }
        let mut sleeper = sleeper.spawn().unwrap();
        let tries = [
            "socket(S, AF_INET, SOCK_STREAM, 0) && \
             connect(S, sockaddr_in(PORT, INADDR_LOOPBACK))",
            "socket(S, AF_INET, SOCK_DGRAM, 0)",
            "socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un(\"DIR/socket\"))",
            "kill(9, PID)",
            "syscall(SHMGET, 77, 4096, 01666) >= 0",
            "syscall(SETPRIORITY, 0, PID, 5) == 0",
            "syscall(PRLIMIT, PID, 7, my $limit = pack(\"QQ\", 9, 9), 0) == 0",
            "syscall(PTRACE, 16, PID, 0, 0) == 0",
        ];
        let tries =
            tries.map(|text| format!("print \"{}\\n\" if {text};", text.replace(['"', '$'], "")));
        let script = format!("exec perl -MSocket -e '{} print \"end\"'", tries.concat());
        let mut script = script
            .replace("PORT", &port.to_string())
            .replace("DIR", &dir.text());
        for (name, number) in [
            ("SHMGET", libc::SYS_shmget),
            ("SETPRIORITY", libc::SYS_setpriority),
            ("PRLIMIT", libc::SYS_prlimit64),
            ("PTRACE", libc::SYS_ptrace),
            ("PID", sleeper.id().into()),
        ] {
            script = script.replace(name, &number.to_string());
        }
        let output = alone(*whose, &["--ro", &dir.text()], &script);
        let alive = sleeper.try_wait().unwrap().is_none();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(printed(&output), "end", "{whose:?}");
        assert!(alive, "{whose:?}");
    }
}

#[test]
fn it_has_to_be_asked_for_and_says_what_it_is() {
    if !has_landlock() {
        return;
    }
    for whose in users() {
        let refused = closed(*whose, &["--tier", "traced"], "true");
        assert_eq!(code(&refused), 125, "{whose:?}");
        let output = alone(*whose, &["--report", "1"], "true");
        let report: serde_json::Value = serde_json::from_str(&printed(&output)).unwrap();
        assert_eq!(report["tier"], "traced", "{whose:?}");
        assert_eq!(report["closed"]["by"], "landlock", "{whose:?}");
        let outside = report["closed"]["outside"].to_string();
        assert!(outside.contains("Landlock and seccomp alone"), "{outside}");
        // What it cannot give is refused, and nothing is taken back below what is given.
        for options in [
            &["--tmpfs", "/usr/lib"][..],
            &["--overlay", "/usr"],
            &["--keep", "/tmp/x=/nonexistent/x"],
            &["--include", "/etc/passwd=/tmp/x"],
            &["--host-root"],
            &["--space", "1M"],
            &["--explain"],
        ] {
            let output = alone(*whose, options, "true");
            assert_eq!(code(&output), 125, "{whose:?} {options:?}");
            assert!(
                errors(&output).contains("without namespaces"),
                "{}",
                errors(&output)
            );
        }
        let dir = Shared::new();
        dir.file("below/file", "x");
        dir.give_for(*whose);
        let (all, below) = (dir.text(), format!("{}/below", dir.text()));
        let output = alone(*whose, &["--rw", &all, "--ro", &below], "true");
        assert_eq!(code(&output), 125, "{whose:?}");
        assert!(
            errors(&output).contains("take that back"),
            "{}",
            errors(&output)
        );
    }
}

#[test]
fn it_is_taken_where_namespaces_are_refused() {
    if !has_landlock() {
        return;
    }
    // A user namespace in which no other may be made.
    let run = |options: &[&str]| {
        let fixed = ["--closed", "--report", "1"];
        let launcher = allgone(
            Whose::Ordinary,
            &[&fixed, options, &["--", "true"]].concat(),
        );
        let mut command = Command::new("setpriv");
        if nix::unistd::geteuid().is_root() {
            command.args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                "--",
            ]);
        } else {
            command = Command::new("env");
        }
        let none = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        command
            .args(["unshare", "-U", "-c", "--keep-caps", "sh", "-c", none, "sh"])
            .arg(launcher.command.get_program())
            .args(launcher.command.get_args())
            .current_dir("/")
            .output()
            .unwrap()
    };
    let refused = run(&[]);
    assert_eq!(code(&refused), 125, "{}", errors(&refused));
    let output = run(&["--best-effort"]);
    let report: serde_json::Value = serde_json::from_str(&printed(&output)).unwrap();
    assert_eq!(report["closed"]["by"], "landlock", "{report}");
    assert_eq!(report["refused"][0]["tier"], "namespace", "{report}");
}
