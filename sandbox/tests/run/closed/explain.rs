//! `--explain`: what was refused is named with the option that would allow it, and that option
//! does.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::libc;

use super::{Shared, closed, printed};
use crate::support::{Whose, code, errors, users};

/// Something that is refused.
struct Case {
    script: String,
    /// Options of the run that refuses it, and not of the one that allows it.
    first: Vec<String>,
    /// Options of both.
    both: Vec<String>,
    /// What is to be named.
    option: String,
    /// Whether it is tried again with that.
    again: bool,
}

fn case(script: impl Into<String>, option: impl Into<String>) -> Case {
    Case {
        script: script.into(),
        first: Vec::new(),
        both: Vec::new(),
        option: option.into(),
        again: true,
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

impl Case {
    fn first(mut self, line: impl AsRef<str>) -> Self {
        self.first = words(line.as_ref());
        self
    }

    fn both(mut self, line: impl AsRef<str>) -> Self {
        self.both = words(line.as_ref());
        self
    }

    fn once(mut self) -> Self {
        self.again = false;
        self
    }

    /// What is wrong with what is said of it.
    fn wrong(&self, whose: Whose) -> Option<String> {
        let run = |explain: &[&str], more: &[String]| {
            let options = more.iter().chain(&self.both).map(String::as_str);
            let options: Vec<_> = explain.iter().copied().chain(options).collect();
            closed(whose, &options, &self.script)
        };
        let output = run(&["--explain"], &self.first);
        let said = errors(&output);
        if code(&output) == 0 {
            return Some(format!("it is not refused: {said}"));
        }
        let named = format!("{:?} would allow it", self.option);
        if !said.contains(&named) {
            return Some(format!("it is not {named}: {said}"));
        }
        if self.again {
            let output = run(&[], &words(&self.option));
            let allowed = code(&output) == 0;
            return (!allowed).then(|| format!("{}: {}", self.option, errors(&output)));
        }
        None
    }
}

/// A call of perl's, which ends well if it succeeds.
fn socket(kind: &str, family: &str, address: &str, what: &str) -> String {
    format!(
        "exec perl -MSocket=:DEFAULT,inet_pton,pack_sockaddr_in6 -e 'socket(my $s, {family}, \
         {kind}, 0) or exit 1; exit !({what}($s, {address}))'"
    )
}

fn tcp(address: &str, port: u16) -> String {
    let address = format!("sockaddr_in({port}, inet_aton(\"{address}\"))");
    socket("SOCK_STREAM", "AF_INET", &address, "connect")
}

/// About files below `dir`, which the launcher may let it write to.
fn of_files(dir: &str) -> Vec<Case> {
    let of =
        |script: &str, option: &str| case(script.replace("DIR", dir), option.replace("DIR", dir));
    let changes = |script| of(script, "--rw DIR").first(format!("--ro {dir}"));
    let unix = socket(
        "SOCK_STREAM",
        "AF_UNIX",
        "sockaddr_un(\"DIR/socket\")",
        "connect",
    );
    vec![
        of("cat DIR/secret", "--ro DIR/secret"),
        of("ls DIR", "--ro DIR"),
        of("cd DIR", "--ro DIR"),
        of("DIR/program", "--ro DIR/program"),
        of(&unix, "--ro DIR/socket"),
        changes(": > DIR/new"),
        changes("mkdir DIR/newer"),
        changes("rm DIR/victim"),
        changes("mv DIR/secret DIR/renamed"),
        changes("chmod 755 DIR/file"),
        changes("echo x >> DIR/file"),
        of("echo x > DIR/.git/config", "--preset build").both(format!("--rw {dir}")),
        case(": > /etc/new", "--overlay /etc").once(),
    ]
}

/// About the network, which root may have in part. `port`: of a listener of the host's.
fn of_network(root: bool, port: u16) -> Vec<Case> {
    let public = if root { "--net public" } else { "--net host" };
    let private = if root {
        "--net public --allow-net 10.0.0.1/32:80"
    } else {
        "--net host"
    };
    let v6 = "0, pack_sockaddr_in6(53, inet_pton(AF_INET6, \"2600::1\"))";
    let v6 = socket("SOCK_DGRAM", "AF_INET6", v6, "x");
    let v6 = v6.replace("x($s, 0,", "send($s, \"x\", 0,");
    vec![
        case(tcp("127.0.0.1", port), "--net host"),
        case(tcp("8.8.8.8", 53), public).once(),
        case(tcp("10.0.0.1", 80), private).once(),
        case(v6, public).once(),
    ]
}

fn of_others() -> Vec<Case> {
    let ptrace = format!(
        "exec perl -e 'exit(syscall({}, 0, 0, 0, 0) != 0)'",
        libc::SYS_ptrace
    );
    let internet = "exec perl -MSocket -e 'socket(my $s, AF_INET, SOCK_STREAM, 0) or exit 1'";
    let large = "exec perl -e '$SIG{XFSZ} = \"IGNORE\"; open(F, \">\", \"/tmp/x\") or exit 2; \
                 for (1..2) { defined syswrite(F, \"x\" x 4096) or exit 1 }'";
    let many = "exec perl -e 'for (1..20) { open(my $f, \"<\", \"/dev/null\") or exit 1; \
                push @all, $f }'";
    vec![
        case(ptrace, "--preset build"),
        case(internet, "--preset agent").first("--preset judge"),
        case(
            "dd if=/dev/zero of=/tmp/x bs=64k count=64 2> /dev/null",
            "--space BYTES",
        )
        .first("--space 1M")
        .once(),
        case(large, "--fsize BYTES").first("--fsize 4096").once(),
        case(many, "--nofile N").first("--nofile 10").once(),
    ]
}

#[test]
fn the_right_option_is_named_for_each_of_twenty_refusals() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for whose in users() {
        let root = *whose == Whose::Own && nix::unistd::geteuid().is_root();
        let dir = Shared::new();
        for name in ["secret", "victim", "file", ".git/config"] {
            dir.file(name, "x\n");
        }
        let program = dir.file("program", "#!/bin/sh\nexit 0\n");
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        dir.give_for(*whose);
        let mut cases = of_files(&dir.text());
        cases.extend(of_network(root, port));
        cases.extend(of_others());
        let kept = dir.file("kept", "x\n");
        if root {
            std::os::unix::fs::chown(&kept, Some(0), Some(0)).unwrap();
            std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o600)).unwrap();
            let (read, option) = (
                kept.display(),
                format!("--include {}=/tmp/kept", kept.display()),
            );
            let shown = format!("--ro {read}");
            cases.push(case(format!("cat {read}"), option).first(shown).once());
            cases.push(case("mkdir -p /data/x", "--tmpfs /data"));
        }
        assert!(cases.len() >= 20, "{}", cases.len());
        let wrong = cases.iter().filter_map(|case| {
            let wrong = case.wrong(*whose)?;
            Some(format!("{}: {wrong}", case.script))
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{whose:?}: {}", wrong.join("\n"));
    }
}

#[test]
fn what_nothing_allows_and_what_was_not_refused_is_said_too() {
    for whose in users() {
        let run = |script: &str| errors(&closed(*whose, &["--explain"], script));
        let said = run("unshare -U true 2> /dev/null");
        assert!(said.contains("unshare: EPERM"), "{whose:?}: {said}");
        assert!(said.contains("no option allows it"), "{whose:?}: {said}");
        // What is not there on the host either was not refused.
        let said = run("cat /usr/nonexistent /nonexistent 2> /dev/null; (sleep 0.1 &); exit 0");
        assert_eq!(said, "allgone: nothing was refused\n", "{whose:?}");
    }
}

#[test]
fn a_traced_run_ends_as_any_other() {
    for whose in users() {
        let run = |options: &[&str], script: &str| {
            closed(*whose, &[&["--explain"], options].concat(), script)
        };
        assert_eq!(
            printed(&run(&[], "echo one; (echo two &); sleep 0.1")),
            "one\ntwo"
        );
        for (script, expected) in [
            ("exit 3", 3),
            ("kill -9 $$", 128 + 9),
            ("kill -TERM $$", 128 + 15),
            ("trap 'exit 7' USR1; kill -USR1 $$; sleep 9", 7),
            ("setsid sh -c 'trap \"\" TERM; sleep 1000' & exit 4", 4),
        ] {
            let output = run(&["--wait", "main"], script);
            assert_eq!(
                code(&output),
                expected,
                "{whose:?} {script}: {}",
                errors(&output)
            );
        }
        let many =
            "n=0; while [ $n -lt 60 ]; do (setsid sleep 1000 &); n=$((n + 1)); done; sleep 99";
        let output = run(&["-t", "500ms"], many);
        assert_eq!(code(&output), 124, "{whose:?}: {}", errors(&output));
    }
}
