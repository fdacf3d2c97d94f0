//! The host sees nothing: a fanotify mark on each of its file systems counts what a closed run
//! creates, changes, deletes and renames there. Everything that it tries to make bears a name that
//! nothing else on the machine has, so events of others do not count.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use super::{Shared, closed};
use crate::support::{Whose, code, errors, has, users};

/// `FAN_REPORT_DFID_NAME`: events come with the name.
const NAMES: u32 = 0x0c00;
/// `FAN_Q_OVERFLOW`.
const OVERFLOW: u64 = 0x4000;

/// Marks on the host's file systems.
struct Marks(Fanotify);

impl Marks {
    fn on(paths: &[&str]) -> Self {
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::from_bits_retain(NAMES);
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY).unwrap();
        let mask = MaskFlags::FAN_CREATE
            | MaskFlags::FAN_DELETE
            | MaskFlags::FAN_MOVED_FROM
            | MaskFlags::FAN_MOVED_TO
            | MaskFlags::FAN_MODIFY
            | MaskFlags::FAN_ATTRIB
            | MaskFlags::FAN_CLOSE_WRITE
            | MaskFlags::FAN_ONDIR;
        let add = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        for path in paths.iter().filter(|path| Path::new(path).exists()) {
            match group.mark(add, mask, nix::fcntl::AT_FDCWD, Some(Path::new(path))) {
                // A file system without file handles.
                Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EXDEV) => {}
                Err(e) => panic!("{path}: {e}"),
            }
        }
        Self(group)
    }

    /// How many events since the last time have `name` in them.
    fn count(&self, name: &str) -> usize {
        let mut count = 0;
        let mut room = vec![0; 1 << 16];
        loop {
            let read = match nix::unistd::read(self.0.as_fd(), &mut room) {
                Ok(0) | Err(Errno::EAGAIN) => return count,
                Ok(read) => read,
                Err(e) => panic!("{e}"),
            };
            let mut rest = &room[..read];
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let length = u32::from_ne_bytes(*length) as usize;
                let mask = u64::from_ne_bytes(tail[4..12].try_into().unwrap());
                assert_eq!(mask & OVERFLOW, 0, "events were lost");
                let (event, next) = rest.split_at(length);
                let found = event
                    .windows(name.len())
                    .any(|part| part == name.as_bytes());
                count += usize::from(found);
                rest = next;
            }
        }
    }
}

/// What a program could do that wants to leave something. `%N` is the name, `%V` a directory with
/// files that every user may change.
const EVERYTHING: &str = r#"
    for dir in / /usr /usr/bin /etc /tmp /var /var/tmp /run /dev /dev/shm /proc /proc/sys /root \
        /home /mnt /srv /opt /sys /sys/fs/cgroup "$HOME" "$PWD" %V; do
        (echo x > "$dir/%N"; mkdir "$dir/%N.d"; ln -s / "$dir/%N.l"; mkfifo "$dir/%N.f"
         mknod "$dir/%N.n" b 8 0; touch "$dir/%N.t"; cp /bin/sh "$dir/%N.s"; chmod 6755 "$dir/%N.s"
         ln %V/%N.file "$dir/%N.h"; mv %V/%N.file "$dir/%N.m"; cp %V/%N.file "$dir/%N.c"
         rm -rf "$dir/%N.d") 2> /dev/null
    done
    (echo x >> %V/%N.file; true > %V/%N.file; rm -f %V/%N.file; chmod 600 %V/%N.file
     touch %V/%N.file
     truncate -s 0 %V/%N.file; mv %V/%N.file %V/%N.other; rm -rf %V) 2> /dev/null
    (mount -t tmpfs none %V; mount --bind /tmp %V; umount /usr
     mount -o remount,rw /usr) 2> /dev/null
    (cd ..; cd ..; echo x > %N; cd /proc/1/root && echo x > %N; cd /proc/1/cwd && echo x > %N
     cd /proc/self/root && echo x > %N) 2> /dev/null
    perl -e 'chdir "/tmp"; for (1..10000) { mkdir "%N" or last; chdir "%N" or last }' 2> /dev/null
    dd if=/dev/zero of=/tmp/%N.big bs=65536 2> /dev/null
    echo done > "$HOME/%N" 2> /dev/null
    exit 0
"#;

#[test]
fn the_host_sees_nothing_of_a_closed_run() {
    // A mark on a file system takes CAP_SYS_ADMIN; what the run may do does not depend on it.
    if !has("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    let name = format!("allgone-mark-{}", std::process::id());
    let dir = Shared::new();
    let victim = dir.file(&format!("{name}.file"), "as it was\n");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o666)).unwrap();
    let text = dir.text();
    let script = EVERYTHING.replace("%N", &name).replace("%V", &text);
    let host = [
        "/", "/tmp", "/var/tmp", "/run", "/dev", "/dev/shm", "/home", "/root", "/sys",
    ];
    let marks = Marks::on(&[&host[..], &[&text]].concat());
    marks.count(&name);
    for whose in users() {
        for preset in ["agent", "judge", "build"] {
            let shown = ["--preset", preset, "--space", "64M", "--ro", &text];
            let whole = ["--preset", preset, "--space", "64M", "--host-root"];
            let host_network = ["--net", "host", "--space", "64M", "--ro", &text];
            let mut ways = vec![&shown[..], &whole[..]];
            if preset == "agent" {
                ways.push(&host_network[..]);
            }
            for options in ways {
                let output = closed(*whose, options, &script);
                let said = errors(&output);
                // 125: this kernel has no Landlock scopes.
                let refused = code(&output) == 125 && options.contains(&"host");
                assert!(
                    code(&output) == 0 || refused,
                    "{whose:?} {options:?}: {said}"
                );
                assert_eq!(marks.count(&name), 0, "{whose:?} {options:?}");
            }
        }
    }
    assert_eq!(std::fs::read(&victim).unwrap(), b"as it was\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&text), "{mounts}");
    // The same without a closed run is seen, so that nothing seen means nothing done.
    let plain = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("cd {text} && echo x >> {name}.file && mkdir {name}.d"),
        ])
        .status();
    assert!(plain.unwrap().success());
    assert!(marks.count(&name) >= 2);
    let open = crate::support::allgone(
        Whose::Own,
        &[
            "--bare",
            "--",
            "sh",
            "-c",
            &format!("echo x > {text}/{name}.open"),
        ],
    );
    assert_eq!(open.code(), 0);
    assert!(marks.count(&name) >= 1, "a run that is not closed is seen");
}
