//! What host and guard say to each other: layout, sizes, bounds. Compiled into both.
//!
//! Both run on one machine and come from one build, so numbers are in its byte order; the version
//! is checked all the same, because a guard may have been installed apart from the program that
//! uses it. See the module's page for the conversation.

/// Changes with every change of what follows.
pub const VERSION: u16 = 2;

/// Descriptors that a guard is born with.
pub mod born {
    /// The guard's end of the socket. Its hang-up without [`super::FINISH`] is the host's death.
    pub const SOCKET: i32 = 0;
    /// The base's directory.
    pub const BASE: i32 = 1;
    /// The host's pidfd.
    pub const HOST: i32 = 2;
    /// `cgroup.procs` of the cgroup that the host was in: where the guard goes in the end, because
    /// it cannot remove the cgroup that it is in. May be closed.
    pub const HOME: i32 = 3;
    /// A file of which the host's process has byte 0 locked (fcntl(2)): the lock ends with the
    /// host's death, and with its exec, whoever else has a copy of the socket.
    pub const LOCK: i32 = 4;
    /// Directories of v1 hierarchies in which jobs have others for their limits, of the same names
    /// as their cgroups. The base again where there are none.
    pub const LIMITS: [i32; 2] = [5, 6];
    /// The number of the first that is the guard's own.
    pub const FREE: i32 = 7;
}

/// Kind of a request: start a program. All its descriptors come with it.
pub const SPAWN: u16 = 1;
/// Kind of a request: all is done. The guard ends, as if the host were gone: what is left is
/// killed and removed, and its own cgroup, which the host removes if the guard cannot.
pub const FINISH: u16 = 2;

/// The most bytes of a request. Text that does not fit comes as a file instead ([`TEXT_FILE`]).
pub const REQUEST_BYTES: usize = 64 << 10;
/// The most descriptors of a request; the kernel lets no more pass at once (`SCM_MAX_FD`).
pub const DESCRIPTORS: usize = 253;
/// The most bytes of text: more than the kernel takes for an exec.
pub const TEXT_BYTES: usize = 16 << 20;

/// Begins every request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// [`VERSION`].
    pub version: u16,
    /// [`SPAWN`] or [`FINISH`].
    pub kind: u16,
    /// Bytes of the whole request.
    pub bytes: u32,
}

/// Flag of a request to spawn: `setsid(2)`.
pub const SESSION: u32 = 1;
/// Flag: `setpgid(0, 0)`.
pub const GROUP: u32 = 1 << 1;
/// Flag: [`Spawn::uid`] and [`Spawn::gid`] count; no groups, no capabilities, `no_new_privs`.
pub const CREDENTIALS: u32 = 1 << 2;
/// Flag: `PR_SET_NO_NEW_PRIVS`.
pub const NO_NEW_PRIVS: u32 = 1 << 3;
/// Flag: [`Spawn::umask`] counts.
pub const UMASK: u32 = 1 << 4;
/// Flag: the text is in a file, the descriptor after the directory's.
pub const TEXT_FILE: u32 = 1 << 5;
/// Flag: the first string is a directory to change to. Without, it is the one that comes as a
/// descriptor, the host's, from which this one counts if it is relative.
pub const DIRECTORY: u32 = 1 << 6;

/// A request to spawn. Behind it come `limits` times [`Limit`], `given` numbers (`i32`), then the
/// text, unless it is in a file.
///
/// Descriptors, in this order: channel, report, cgroup, directory, the text's file (if so flagged),
/// `tasks` of v1 cgroups, and what the program is given. Strings end in a zero byte each and come
/// in this order: directory (if so flagged), paths, arguments, environment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spawn {
    /// Begins it.
    pub header: Header,
    /// The flags above.
    pub flags: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// File mode creation mask.
    pub umask: u32,
    /// How many limits.
    pub limits: u32,
    /// How many v1 cgroups to enter.
    pub tasks: u32,
    /// How many descriptors the program is given.
    pub given: u32,
    /// Paths of the program, tried one after the other.
    pub paths: u32,
    /// Arguments.
    pub args: u32,
    /// Variables of the environment.
    pub envs: u32,
    /// Bytes of the text.
    pub text: u32,
}

/// A resource limit: setrlimit(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_...`.
    pub resource: u64,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Descriptors that come before the optional ones.
pub const FIXED: usize = 4;

/// Kind of a notice: the process exists. Its pidfd comes with it.
pub const STARTED: u32 = 1;
/// Kind of a notice: there is no process, because of [`Notice::code`], an errno.
pub const REFUSED: u32 = 2;
/// Kind of a notice: the first process has ended, and has been reaped.
pub const ENDED: u32 = 3;
/// Kind of a notice: `populated 0` has been read.
pub const EMPTY: u32 = 4;
/// Kind of a notice: the guard cannot tell any more, because of [`Notice::code`], an errno.
pub const UNKNOWN: u32 = 5;

/// What the guard says on a job's channel.
///
/// After [`EMPTY`], [`REFUSED`] or [`UNKNOWN`] the guard closes its end. A channel that ends
/// without one of these: the guard has died.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// One of the kinds.
    pub kind: u32,
    /// [`STARTED`], [`ENDED`]: process id.
    pub pid: i32,
    /// [`STARTED`]: 0, or the errno with which the kernel refused to let it be born in the cgroup,
    /// so that it moved. [`ENDED`]: `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`. Else an errno.
    pub code: i32,
    /// [`ENDED`]: exit code or signal.
    pub status: i32,
    /// When, by `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// [`ENDED`]: CPU time in user mode, children that it has waited for included.
    pub user_us: u64,
    /// [`ENDED`]: CPU time in the kernel.
    pub system_us: u64,
    /// [`ENDED`]: the most resident memory of it, or of one of these children.
    pub peak_kib: u64,
}

/// Plain old data: any bytes are a value, and it has no padding.
///
/// # Safety
///
/// `repr(C)`, integers alone, no padding.
pub unsafe trait Plain: Copy + Default {}
// SAFETY: two of 16 bits, then one of 32.
unsafe impl Plain for Header {}
// SAFETY: a `Header` and 11 of 32 bits.
unsafe impl Plain for Spawn {}
// SAFETY: three of 64 bits.
unsafe impl Plain for Limit {}
// SAFETY: four of 32 bits, then four of 64.
unsafe impl Plain for Notice {}
// SAFETY: an integer.
unsafe impl Plain for i32 {}

/// The bytes of a value.
pub fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: plain data without padding, borrowed for as long as the slice.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value at the beginning of `from`, and what is behind it. `None`: it is too short.
pub fn take<T: Plain>(from: &[u8]) -> Option<(T, &[u8])> {
    let (first, rest) = from.split_at_checked(size_of::<T>())?;
    // SAFETY: as many bytes as the value has, and any bytes are one.
    Some((unsafe { first.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// Splits off `count` strings, each with its zero byte at the end. `None`: there are fewer.
pub fn strings(text: &[u8], count: u32) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    for _ in 0..count {
        let rest = text.get(end..)?;
        end += rest.iter().position(|byte| *byte == 0)? + 1;
    }
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let limit = Limit {
            resource: 7,
            soft: 1,
            hard: u64::MAX,
        };
        let twice = [bytes(&limit), bytes(&limit)].concat();
        let (first, rest) = take::<Limit>(&twice[..]).unwrap();
        assert_eq!((first, rest.len()), (limit, size_of::<Limit>()));
        assert_eq!(take::<Limit>(&twice[..size_of::<Limit>() - 1]), None);
    }

    #[test]
    fn nothing_has_padding() {
        assert_eq!(size_of::<Header>(), 8);
        assert_eq!(size_of::<Spawn>(), 8 + 11 * 4);
        assert_eq!(size_of::<Limit>(), 24);
        assert_eq!(size_of::<Notice>(), 16 + 32);
    }

    #[test]
    fn strings_are_counted_and_a_missing_end_is_an_error() {
        assert_eq!(
            strings(b"a\0\0b\0c", 3),
            Some((&b"a\0\0b\0"[..], &b"c"[..]))
        );
        assert_eq!(strings(b"a\0b", 2), None);
        assert_eq!(strings(b"", 1), None);
        assert_eq!(strings(b"x", 0), Some((&b""[..], &b"x"[..])));
    }
}
