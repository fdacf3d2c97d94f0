//! Fanotify marks on whole file systems: what is created, changed, deleted or renamed there.
//!
//! Sources: fanotify(7) `FAN_REPORT_DFID_NAME` (Linux 5.9). Needs
//! `CAP_SYS_ADMIN`.

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

/// `FAN_REPORT_DFID_NAME`: events come with the name.
const NAMES: u32 = 0x0c00;
/// `FAN_Q_OVERFLOW`.
const OVERFLOW: u64 = 0x4000;

/// Marks on file systems.
#[derive(Debug)]
pub(crate) struct Marks(Fanotify);

/// Something that was done to a file.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `FAN_…`.
    mask: u64,
    /// The file's name in its directory.
    pub(crate) name: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} {:?}", self.mask, self.name)
    }
}

impl Marks {
    /// None yet.
    pub(crate) fn new() -> Self {
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::from_bits_retain(NAMES);
        Self(Fanotify::init(flags, EventFFlags::O_RDONLY).unwrap())
    }

    /// One on the file system of `path`. Errors: `EOPNOTSUPP`, `ENODEV`, `EXDEV` it has no file
    /// handles.
    pub(crate) fn add(&self, path: &Path) -> Result<(), Errno> {
        let mask = MaskFlags::FAN_CREATE
            | MaskFlags::FAN_DELETE
            | MaskFlags::FAN_MOVED_FROM
            | MaskFlags::FAN_MOVED_TO
            | MaskFlags::FAN_MODIFY
            | MaskFlags::FAN_ATTRIB
            | MaskFlags::FAN_CLOSE_WRITE
            | MaskFlags::FAN_ONDIR;
        let add = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        self.0.mark(add, mask, nix::fcntl::AT_FDCWD, Some(path))
    }

    /// What was done since the last time.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut room = vec![0; 1 << 16];
        loop {
            let read = match nix::unistd::read(self.0.as_fd(), &mut room) {
                Ok(0) | Err(Errno::EAGAIN) => return events,
                Ok(read) => read,
                Err(e) => panic!("{e}"),
            };
            let mut rest = &room[..read];
            while let Some((length, _)) = rest.split_first_chunk::<4>() {
                let (event, next) = rest.split_at(u32::from_ne_bytes(*length) as usize);
                let mask = u64::from_ne_bytes(event[8..16].try_into().unwrap());
                assert_eq!(mask & OVERFLOW, 0, "events were lost");
                let name = name(event).unwrap_or_default();
                events.push(Event { mask, name });
                rest = next;
            }
        }
    }
}

/// The name behind the handle of the directory (`struct fanotify_event_info_fid`).
fn name(event: &[u8]) -> Option<String> {
    let (header, handle, text) = (4 + 8, 4 + 4, 24);
    let bytes = event.get(text + header..)?.first_chunk::<4>()?;
    let bytes = u32::from_ne_bytes(*bytes) as usize;
    let name = event.get(text + header + handle + bytes..)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}
