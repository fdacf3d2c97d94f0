//! Standard input and output belong to the program.
//!
//! Level 0. `echo`: 8 MiB are written to the launcher's standard input, and the payload writes
//! them to standard output; every byte comes back, and the end of both is passed on. `crash`: the
//! payload writes 64 KiB and aborts; every byte is read. `end`: one second after the
//! launcher has returned, the reader of its output has seen the end.

use super::{Judged, Plan, Promise};
use crate::adapter::Adapter;
use crate::payload::{ABORT, ECHO, WRITE};
use crate::trial::{Case, DIR, Payload, Seen, Stream};

const MANY: usize = 8 << 20;
const SOME: usize = 64 << 10;

/// `io`.
#[derive(Debug)]
pub(super) struct Io;

impl Promise for Io {
    fn id(&self) -> &'static str {
        "io"
    }

    fn summary(&self) -> &'static str {
        "standard input and output arrive whole, and so does their end"
    }

    fn source(&self) -> &'static str {
        include_str!("io.rs")
    }

    fn cases(&self, _: &mut Plan<'_>) -> Vec<Case> {
        let case = |name: &str, args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            Case {
                output: Stream::Pipe,
                // It says what arrives, not how fast: a busy machine is no fault.
                patience_ms: 60_000,
                ..Case::new(format!("io/{name}"), 0, Payload::Args(args))
            }
        };
        let some = SOME.to_string();
        let ready = format!("{DIR}/ready");
        let crash = [WRITE, &some, ABORT];
        vec![
            Case {
                feed: MANY,
                ..case("echo", &[ECHO])
            },
            case("crash", &crash),
            case(
                "end",
                &[WRITE, "10", "--ready-file", &ready, "main: ready; exit 7"],
            ),
        ]
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        let wanted = match case.id.as_str() {
            "io/echo" => MANY,
            "io/crash" => SOME,
            _ => 10,
        };
        if seen.returned.is_none() {
            return Judged::Broken(format!("it had not returned after {} ms", case.patience_ms));
        }
        if !seen.read_right || seen.read_bytes != wanted {
            let (read, right) = (seen.read_bytes, seen.read_right);
            let how = if right {
                ""
            } else {
                ", and not as they were written"
            };
            return Judged::Broken(format!("{read} of {wanted} bytes arrived{how}"));
        }
        match seen.read_end {
            true => Judged::Kept,
            false => Judged::Broken("the end of its output never came".to_owned()),
        }
    }
}
