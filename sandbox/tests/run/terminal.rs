//! A session at a terminal: script(1) makes one, and what is typed comes through a pipe.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Executable, binary, within};

struct Session {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<Vec<u8>>>,
    from: usize,
    executable: Arc<Executable>,
}

impl Session {
    fn start() -> Self {
        let binary = binary();
        // A test that runs in the background of a script has SIGINT ignored, and so would the shell
        // and all that it starts.
        let shell = "env --default-signal bash --norc --noprofile -i";
        let mut child = Command::new("script")
            .args(["-qfc", shell, "/dev/null"])
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut room = [0; 512];
            while let Ok(read @ 1..) = out.read(&mut room) {
                into.lock().unwrap().extend_from_slice(&room[..read]);
            }
        });
        let mut session = Self {
            child,
            keys,
            seen,
            from: 0,
            executable: binary,
        };
        // In two parts, so that the echo of what is typed is not taken for the prompt.
        session.press("PS1='rea''dy> '\r");
        session.expect("ready> ");
        session
    }

    fn text(&self) -> String {
        let seen = self.seen.lock().unwrap();
        String::from_utf8_lossy(&seen[self.from..]).into_owned()
    }

    /// Waits for a text, and forgets all up to its end.
    fn expect(&mut self, text: &str) {
        let there = within(Duration::from_secs(60), || self.text().contains(text));
        let all = self.text();
        assert!(there, "no {text:?} in {all:?}");
        self.from += all.find(text).unwrap() + text.len();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn run(&mut self, options: &str) {
        let line = format!("{} run {options}\r", self.executable.path());
        self.press(&line);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match self.child.kill().and_then(|()| self.child.wait()) {
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn control_c_ends_the_program_and_the_shell_sees_the_signal() {
    let mut session = Session::start();
    for tier in ["", "--tier traced"] {
        session.run(&format!(
            "{tier} -- sh -c 'echo be\"\"gun; exec sleep 1000'"
        ));
        session.expect("begun");
        session.press("\u{3}");
        session.expect("ready> ");
        session.press("echo code=$?\r");
        session.expect("code=130");
    }
    // A program that takes it goes on, and the launcher with it.
    // It counts them, so that none has to come at a certain moment.
    let counts = "trap \"n=1\\$n; echo ta\"\"ken\" INT; echo be\"\"gun; \
                  while [ \"$n\" != 11 ]; do sleep 0.05; done";
    session.run(&format!("-- sh -c '{counts}'"));
    session.expect("begun");
    session.press("\u{3}");
    session.expect("taken");
    session.press("\u{3}");
    session.expect("taken");
    session.expect("ready> ");
}

#[test]
fn control_z_stops_it_and_fg_goes_on() {
    let mut session = Session::start();
    for tier in ["", "--tier traced"] {
        session.run(&format!(
            "{tier} -- sh -c 'echo be\"\"gun; read line; echo got-$line'"
        ));
        session.expect("begun");
        session.press("\u{1a}");
        session.expect("Stopped");
        session.expect("ready> ");
        session.press("echo between\r");
        session.expect("between\r\n");
        session.press("fg\r");
        session.expect("run");
        session.press("text\r");
        session.expect("got-text");
        session.expect("ready> ");
    }
}

#[test]
fn a_program_in_the_background_stops_when_it_reads_the_terminal() {
    let mut session = Session::start();
    session.run("-- sh -c 'read line; echo got-$line' &");
    session.expect("ready> ");
    let stopped = within(Duration::from_secs(10), || {
        session.press("jobs\r");
        session.text().contains("Stopped")
    });
    assert!(stopped, "{:?}", session.text());
    // All that was typed until now has been answered.
    session.press("echo ma''rk\r");
    session.expect("\nmark");
    session.expect("ready> ");
    session.press("fg\r");
    session.expect("got-$line");
    session.press("text\r");
    session.expect("got-text");
}

#[test]
fn a_new_window_size_is_seen() {
    let mut session = Session::start();
    session.press("stty rows 30 cols 100\r");
    session.expect("ready> ");
    session.run("-- sh -c 'trap \"stty size\" WINCH; echo be\"\"gun; stty rows 41; sleep 0.2'");
    session.expect("begun");
    session.expect("41 100");
    session.expect("ready> ");
}
