//! `/proc/<pid>/stat`, whose second field may contain anything, parentheses and line breaks
//! included.

use nix::errno::Errno;

use crate::error::SysError;

/// The fields that identify a process and place it in the tree. Source: proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::detect) struct Stat {
    /// Process id.
    pub(in crate::detect) pid: i32,
    /// State letter; `Z` and `X` have ended.
    pub(in crate::detect) state: u8,
    /// Parent.
    pub(in crate::detect) ppid: i32,
    /// Process group.
    pub(in crate::detect) pgrp: i32,
    /// Session.
    pub(in crate::detect) session: i32,
    /// Threads, this one included.
    pub(in crate::detect) threads: i32,
    /// Clock ticks after boot; with the pid it names a process.
    pub(in crate::detect) start: u64,
}

impl Stat {
    /// Whether nothing of the process runs any more. A leader that left its threads behind is a
    /// zombie too, but they run.
    pub(in crate::detect) fn over(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// Parses one stat line. The command ends at the *last* closing parenthesis. `None`: not
/// understood.
pub(in crate::detect) fn parse(content: &[u8]) -> Option<Stat> {
    let open = content.iter().position(|b| *b == b'(')?;
    let close = content.iter().rposition(|b| *b == b')')?;
    let pid = std::str::from_utf8(content.get(..open)?)
        .ok()?
        .trim_end()
        .parse()
        .ok()?;
    let rest = std::str::from_utf8(content.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // fields[0] is the third field of the line.
    let number = |index: usize| fields.get(index - 3)?.parse().ok();
    let [state] = fields.first()?.as_bytes() else {
        return None;
    };
    Some(Stat {
        pid,
        state: *state,
        ppid: number(4)?,
        pgrp: number(5)?,
        session: number(6)?,
        threads: number(20)?,
        start: fields.get(22 - 3)?.parse().ok()?,
    })
}

/// Reads the stat of one process. `None`: there is no such process.
pub(in crate::detect) fn read(pid: i32) -> Result<Option<Stat>, SysError> {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read(&path) {
        Ok(content) => parse(&content)
            .map(Some)
            .ok_or_else(|| SysError::path("understand", &path, Errno::EINVAL)),
        Err(e) if matches!(e.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)) => {
            Ok(None)
        }
        Err(e) => Err(SysError::io("read", crate::Target::Path(path.into()), &e)),
    }
}

/// All processes with a pid in this PID namespace, as seen by one pass, which is not a snapshot. A
/// process forked during the pass with a number below the place that has been reached is not seen.
pub(in crate::detect) fn scan() -> Result<Vec<Stat>, SysError> {
    let fail = |e: std::io::Error| SysError::io("readdir", crate::Target::Path("/proc".into()), &e);
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        all.extend(read(pid)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(pid: i32, comm: &[u8], tail: &str) -> Vec<u8> {
        let mut line = format!("{pid} (").into_bytes();
        line.extend_from_slice(comm);
        line.extend_from_slice(format!(") {tail}").as_bytes());
        line
    }

    const TAIL: &str = "S 1 42 43 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 3 0 12345 1000 200";

    #[test]
    fn a_hostile_command_does_not_move_the_fields() {
        for comm in [
            &b"sh"[..],
            b"x) Z 9 9 9",
            b"a b\nc",
            b"((((",
            b"))) R 1 1 1 (",
            b"\xff\xfe",
        ] {
            let stat = parse(&line(7, comm, TAIL)).unwrap();
            assert_eq!(
                stat,
                Stat {
                    pid: 7,
                    state: b'S',
                    ppid: 1,
                    pgrp: 42,
                    session: 43,
                    threads: 3,
                    start: 12345
                }
            );
        }
    }

    #[test]
    fn a_dead_leader_with_threads_is_not_over() {
        assert!(
            !parse(&line(7, b"x", &TAIL.replacen('S', "Z", 1)))
                .unwrap()
                .over()
        );
        assert!(
            parse(&line(
                7,
                b"x",
                &TAIL.replacen('S', "Z", 1).replace(" 0 3 0 ", " 0 1 0 ")
            ))
            .unwrap()
            .over()
        );
    }

    #[test]
    fn one_finds_oneself() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(read(me).unwrap().unwrap().pid, me);
        assert!(scan().unwrap().iter().any(|s| s.pid == me));
        assert_eq!(read(i32::MAX).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let stat = parse(&bytes);
            prop_assert!(stat.is_none() || bytes.contains(&b')'));
        }

        #[test]
        fn any_command_is_skipped(comm in prop::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(parse(&line(7, &comm, TAIL)).map(|s| s.pgrp), Some(42));
        }
    }
}
