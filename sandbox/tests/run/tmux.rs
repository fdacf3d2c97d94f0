//! A session at a terminal as a user has it: a shell in tmux, and in it a program that takes the
//! whole screen. tmux says what the screen shows; what is typed goes through its server.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allgone::sys::time::now;

use crate::support::{Executable, bearing, binary, within};

/// A server of its own, with a shell.
struct Screen {
    server: String,
    mark: String,
    executable: Arc<Executable>,
}

impl Screen {
    fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = format!("allgone-{}-{number}", std::process::id());
        let mark = format!("ALLGONE_MARK={server}-{}", now().0);
        let screen = Self {
            server,
            mark,
            executable: binary(),
        };
        // A test that runs in the background of a script has SIGINT ignored.
        let shell = format!(
            "env --default-signal {} bash --norc --noprofile -i",
            screen.mark
        );
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            &shell,
        ]);
        screen.tmux(&["set-option", "-g", "status", "off"]);
        screen.tmux(&["resize-window", "-x", "80", "-y", "24"]);
        // In two parts, so that the echo of what is typed is not taken for the prompt.
        screen.line("PS1='rea''dy> '; clear");
        screen.is_at_prompt();
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", self.server.as_str()]).args(args);
        let output = command.env("TERM", "xterm").output();
        let output = output.expect("tmux has to be installed");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is on the screen.
    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn is_full(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{alternate_on}"])
            .trim()
            == "1"
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    fn until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let there = within(Duration::from_secs(60), || condition(&self.text()));
        assert!(there, "no {what} on {}", self.text());
    }

    fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// A shell's last line is its prompt, and nothing else.
    fn is_at_prompt(&self) {
        self.until("prompt", |screen| {
            screen.trim_end().lines().last() == Some("ready>")
        });
    }

    fn run(&self, options: &str, command: &str) {
        self.line(&format!(
            "clear; {} run {options} -- {command}",
            self.executable.path()
        ));
    }

    /// What the terminal is set to while a command has it, as a sum: a line of its own.
    fn setting(&self) -> String {
        self.line("clear; stty -g | cksum");
        let is_sum = |line: &&str| {
            let mut digits = line.bytes().filter(|byte| *byte != b' ');
            line.contains(' ') && digits.all(|byte| byte.is_ascii_digit())
        };
        self.until("sum", |screen| screen.lines().any(|line| is_sum(&line)));
        self.is_at_prompt();
        let text = self.text();
        text.lines().find(is_sum).unwrap().to_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let killed = Command::new("tmux")
            .args(["-L", &self.server, "kill-server"])
            .output();
        match killed {
            Ok(_) | Err(_) => {}
        }
    }
}

/// A file with so many numbered lines.
fn numbered(lines: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    let text: String = (1..=lines).map(|line| format!("line-{line}.\n")).collect();
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// less(1) takes the other screen, switches the terminal to single keys, and draws as many lines as
/// the window has.
#[test]
fn a_full_screen_program_is_as_without_a_launcher() {
    let (_dir, path) = numbered(500);
    for options in ["", "--bare", "--tier traced"] {
        let screen = Screen::start();
        let before = screen.setting();
        screen.run(options, &format!("less < {}", path.display()));
        screen.shows("line-20.");
        assert!(!screen.text().contains("line-30."), "{options}");
        assert!(screen.is_full(), "{options}");
        screen.tmux(&["resize-window", "-x", "100", "-y", "40"]);
        // If the signal comes just before less reads a key, less acts on it at the next key. This
        // one tells where it is: without the signal it asks for no size, as `r` would.
        let resized = within(Duration::from_secs(60), || {
            screen.keys(&["="]);
            screen.text().contains("line-35.")
        });
        assert!(resized, "{options}: {}", screen.text());
        // It takes the key itself.
        screen.keys(&["C-c"]);
        // With it less throws away what was typed before.
        let at_the_end = within(Duration::from_secs(60), || {
            screen.keys(&["G"]);
            screen.text().contains("line-500.")
        });
        assert!(at_the_end, "{options}: {}", screen.text());
        screen.keys(&["C-z"]);
        screen.shows("Stopped");
        screen.is_at_prompt();
        assert!(!screen.is_full(), "{options}");
        assert_eq!(screen.setting(), before, "{options}: while it is stopped");
        screen.line("fg");
        screen.shows("line-500.");
        assert!(screen.is_full(), "{options}");
        screen.keys(&["q"]);
        screen.is_at_prompt();
        assert!(!screen.is_full(), "{options}");
        assert_eq!(screen.setting(), before, "{options}: afterwards");
        screen.line("clear; echo jobs=$(jobs | wc -l)");
        screen.shows("jobs=0");
    }
}

/// Main is gone; what it left ignores what it can.
const LEAVES: &str =
    "sh -c 'trap \"\" INT TERM HUP; setsid sleep 1000 & sleep 1000 & echo be\"\"gun'";

#[test]
fn control_c_twice_ends_what_main_left() {
    for options in ["", "--bare", "--tier traced"] {
        let screen = Screen::start();
        screen.run(options, LEAVES);
        screen.shows("begun");
        // The launcher has to have heard that main has ended; before that the key is main's.
        let ended = within(Duration::from_secs(60), || {
            screen.keys(&["C-c"]);
            screen.text().trim_end().lines().last() == Some("ready>")
        });
        assert!(ended, "{options}: {}", screen.text());
        // The shell is left, and what looks.
        let only_shell = || bearing(&screen.mark).len() == 1;
        assert!(within(Duration::from_secs(5), only_shell), "{options}");
    }
}

#[test]
fn the_terminal_is_gone_and_so_is_everything() {
    let ignored = "sh -c '(trap \"\" INT TERM HUP; setsid sleep 1000 & sleep 1000 &); \
                   echo be\"\"gun; exec sleep 1000'";
    for options in ["", "--bare", "--tier traced"] {
        for command in [LEAVES, ignored] {
            let screen = Screen::start();
            screen.run(options, command);
            screen.shows("begun");
            assert!(bearing(&screen.mark).len() > 3, "{options}");
            screen.tmux(&["kill-session"]);
            let alive = || bearing(&screen.mark);
            let gone = within(Duration::from_secs(20), || alive().is_empty());
            assert!(gone, "{options} {command}: {:?}", alive());
        }
    }
}
