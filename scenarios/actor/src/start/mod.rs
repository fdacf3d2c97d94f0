//! From the arguments to the first operation: everything that may allocate and fail.

mod args;
mod load;

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use allgone_sys::spawn::exit_now;

use crate::play::Player;
use args::Asked;

pub use args::USAGE;

pub use crate::play::NAME;

/// Exit code of a main process that does not understand its arguments.
const USAGE_ERROR: i32 = 2;
/// Exit code of a main process that found no script, or one that it does not understand.
pub const NO_SCRIPT: i32 = 72;
/// Exit code of a main process that found no ledger.
pub const NO_LEDGER: i32 = 73;
/// Exit code of a main process that has to make cgroups and could not find its own.
pub const NO_CGROUP: i32 = 74;
/// Exit code of a main process that could not use what "ready" was to be said through.
pub const NO_READY: i32 = 75;

static PLAYING: AtomicBool = AtomicBool::new(false);

/// Whether this process has begun to play. From here on it must not allocate.
pub fn playing() -> bool {
    PLAYING.load(Ordering::Relaxed)
}

/// Why nothing is played.
#[derive(Debug)]
struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Turns this process into an actor if its `argv[0]` is [`NAME`]; then it does not return.
/// Otherwise it returns at once.
///
/// To be called as the very first thing in `main`, while there is one thread.
pub fn main_if_actor() {
    let mut words = std::env::args_os().peekable();
    let name = words.next().unwrap_or_default();
    if interprets(&name, &mut words) || name.as_bytes() == NAME.to_bytes() {
        run(words)
    }
}

/// The program: understands its arguments ([`USAGE`]), plays, and ends as its main process does.
pub fn main() -> ! {
    let mut words = std::env::args_os().peekable();
    let name = words.next().unwrap_or_default();
    interprets(&name, &mut words);
    run(words)
}

/// Whether this process has executed a file of an actor's that begins with `#!/proc/self/exe
/// actor`: then the words that the kernel has put before the arguments are taken away, and the file
/// is closed.
fn interprets(name: &OsStr, words: &mut Peekable<impl Iterator<Item = OsString>>) -> bool {
    let interprets =
        name == "/proc/self/exe" && words.next_if(|w| w.as_bytes() == NAME.to_bytes()).is_some();
    if interprets && let Some(file) = words.next() {
        let number = file.to_str().and_then(|path| path.strip_prefix("/dev/fd/"));
        if let Some(number) = number.and_then(|number| number.parse::<RawFd>().ok()) {
            // If it was not open, there is nothing to close.
            match nix::unistd::close(number) {
                Ok(()) | Err(_) => {}
            }
        }
    }
    interprets
}

/// Whether [`main`] understands these words after `argv[0]`, and if not, what it says. Nothing is
/// opened.
///
/// Errors: the message.
pub fn understands(words: impl Iterator<Item = OsString>) -> Result<(), String> {
    args::parse(words)
        .map(drop)
        .map_err(|failure| failure.message)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "help and errors of a program; nothing is printed once it plays"
)]
fn run(words: impl Iterator<Item = OsString>) -> ! {
    let setting = args::parse(words).and_then(|asked| match asked {
        Asked::Play(play) => load::load(play),
        Asked::Print(source) => Err(Failure::new(0, load::read(source)?.to_string())),
        Asked::Help => Err(Failure::new(0, args::help())),
    });
    match setting {
        Ok((setting, again)) => {
            PLAYING.store(true, Ordering::Relaxed);
            match again {
                Some(again) => Player::again(&setting, again).play(),
                None => Player::new(&setting).play(),
            }
        }
        Err(Failure { code: 0, message }) => {
            print!("{message}");
            exit_now(0)
        }
        Err(Failure { code, message }) => {
            eprintln!("actor: {message}");
            exit_now(code)
        }
    }
}
