//! A cgroup that systemd gives away: `--cgroup systemd`.
//!
//! Where systemd is the single writer of the tree, a process must not make cgroups in that of a
//! service or session. It asks for a transient scope with `Delegate=yes`, into which systemd moves
//! it; what is below the scope is its own. A cgroup with members passes on no controllers, so this
//! process moves on into a leaf. systemd removes the scope when nothing is left in it.
//!
//! Sources: <https://systemd.io/CGROUP_DELEGATION/>, org.freedesktop.systemd1(5), systemd.scope(5).

mod wire;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use allgone::MonoNs;
use allgone::layout::{Layout, Paths};
use allgone::sys::time::now;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use wire::{HEAD, Message, Value, Writer};

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The leaf that this process, and with it init, is in.
const LEAF: &str = "launcher";

/// Controllers that limits are for.
const CONTROLLERS: [&str; 3] = ["pids", "memory", "cpu"];

/// Asks for a scope, goes into a leaf of it, and passes on the controllers that there are. Returns
/// the directory of the scope.
///
/// Errors: there is no systemd, it refuses, or it does not answer within ten seconds.
pub(crate) fn scope() -> Result<PathBuf, String> {
    let name = format!("allgone-{}-{:x}.scope", std::process::id(), now().0);
    let mut manager = Manager::connect()?;
    manager.start(&name)?;
    let layout = Layout::read(&Paths::default()).map_err(|e| e.to_string())?;
    let scope = layout.own_v2().map_err(|e| e.to_string())?;
    if !scope.ends_with(&name) {
        let scope = scope.display();
        return Err(format!(
            "systemd has made {name}, but this process is in {scope}"
        ));
    }
    let leaf = scope.join(LEAF);
    let failed = |what: &str, e| format!("could not {what} {}: {e}", leaf.display());
    std::fs::create_dir(&leaf).map_err(|e| failed("make", e))?;
    std::fs::write(leaf.join("cgroup.procs"), "0").map_err(|e| failed("enter", e))?;
    for controller in CONTROLLERS {
        // What is not to be had is found when a limit needs it.
        match std::fs::write(
            scope.join("cgroup.subtree_control"),
            format!("+{controller}"),
        ) {
            Ok(()) | Err(_) => {}
        }
    }
    Ok(scope)
}

/// systemd, by its own socket.
struct Manager {
    socket: UnixStream,
    deadline: MonoNs,
    serial: u32,
}

impl Manager {
    /// The manager of the system for root, that of the user for others.
    fn connect() -> Result<Self, String> {
        let path = if nix::unistd::geteuid().is_root() {
            PathBuf::from("/run/systemd/private")
        } else {
            let dir = std::env::var_os("XDG_RUNTIME_DIR");
            let dir = dir.ok_or("no systemd of the user: XDG_RUNTIME_DIR is not set")?;
            PathBuf::from(dir).join("systemd/private")
        };
        let socket = UnixStream::connect(&path);
        let socket = socket.map_err(|e| format!("no systemd at {}: {e}", path.display()))?;
        let mut manager = Self {
            socket,
            deadline: now() + PATIENCE,
            serial: 0,
        };
        let user: String = nix::unistd::geteuid()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        manager.say(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            manager.hear(&mut byte)?;
            line.extend(byte);
        }
        if !line.starts_with(b"OK ") {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(format!("systemd does not let this user in: {line:?}"));
        }
        manager.say(b"BEGIN\r\n")?;
        Ok(manager)
    }

    /// Starts the scope, and waits until this process is in it.
    fn start(&mut self, name: &str) -> Result<(), String> {
        let mut body = Writer::default();
        body.text(name);
        body.text("fail");
        body.properties(&[
            ("Description", Value::Text("allgone run")),
            ("PIDs", Value::Numbers(&[std::process::id()])),
            ("Delegate", Value::Bool(true)),
            // Otherwise one that was killed stays as failed.
            ("CollectMode", Value::Text("inactive-or-failed")),
        ]);
        body.nothing();
        self.serial += 1;
        let call = wire::call(self.serial, "StartTransientUnit", "ssa(sv)a(sa(sv))", body);
        self.say(&call)?;
        // systemd tells of the end of the job, which may come before the answer.
        let (mut answered, mut done) = (false, false);
        while !(answered && done) {
            let message = self.message()?;
            let answers = message.answers == Some(self.serial);
            match message.kind {
                2 if answers => answered = true,
                3 if answers => {
                    let why = message.texts.first().cloned().or(message.error);
                    return Err(format!("systemd refuses: {}", why.unwrap_or_default()));
                }
                4 if message.member.as_deref() == Some("JobRemoved") => {
                    // Its path, the unit, and how it ended.
                    if let [_, unit, result] = message.texts.as_slice()
                        && unit == name
                    {
                        if result != "done" {
                            return Err(format!("systemd could not start {name}: {result}"));
                        }
                        done = true;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&mut self) -> Result<Message, String> {
        let not_understood = || "systemd says what is no D-Bus message".to_owned();
        let mut head = [0; HEAD];
        self.hear(&mut head)?;
        let rest = wire::rest(&head).ok_or_else(not_understood)?;
        let mut bytes = head.to_vec();
        bytes.resize(HEAD + rest, 0);
        let room = bytes.get_mut(HEAD..).unwrap_or_default();
        self.hear(room)?;
        wire::parse(&bytes).ok_or_else(not_understood)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        // A few hundred bytes, for which a fresh socket has room.
        let said = self.socket.write_all(bytes);
        said.map_err(|e| format!("could not write to systemd: {e}"))
    }

    /// Fills `room`.
    fn hear(&mut self, room: &mut [u8]) -> Result<(), String> {
        let mut at = 0;
        while at < room.len() {
            let left = PollTimeout::try_from(self.deadline.remaining()).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) | Err(Errno::EINTR) if self.deadline.has_passed() => {
                    return Err("systemd does not answer".to_owned());
                }
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(e) => return Err(format!("could not wait for systemd: {e}")),
            }
            match self.socket.read(room.get_mut(at..).unwrap_or_default()) {
                Ok(0) => return Err("systemd has closed the connection".to_owned()),
                Ok(length) => at += length,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("could not hear systemd: {e}")),
            }
        }
        Ok(())
    }
}
