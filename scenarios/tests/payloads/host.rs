//! A host of a run's own, on which everything that happens is the run's: the machine's tree below a
//! layer in memory, with a mark on it.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;

use super::marks::Marks;

/// The host, as long as this process lives: its mount namespace is its own.
#[derive(Debug)]
pub(crate) struct Host(Marks);

/// Where its POSIX message queues are listed, and its POSIX shared memory.
const POSIX: [&str; 2] = ["/queues-of-the-test", "/dev/shm"];

/// What is in it as on the machine.
const MACHINE: &[&str] = &["/proc", "/sys", "/dev"];

impl Host {
    /// Makes it this process's root, and this process's messages and shared memory its own. `dir`:
    /// an empty directory for it; `file`: what is the machine's own, though it is changed.
    pub(crate) fn enter(dir: &Path, file: &Path) -> Result<Self, String> {
        let said = |what: &'static str| move |e: nix::Error| format!("{what}: {e}");
        let none = None::<&str>;
        nix::sched::unshare(CloneFlags::CLONE_NEWIPC).map_err(said("unshare"))?;
        mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none).map_err(said("tmpfs"))?;
        let at = |name: &str| dir.join(name);
        for name in ["upper", "work", "root"] {
            fs::create_dir(at(name)).map_err(|e| format!("{name}: {e}"))?;
        }
        let (upper, work, root) = (at("upper"), at("work"), at("root"));
        // A mark takes handles of files that can be opened again.
        let options = format!(
            "lowerdir=/,index=on,nfs_export=on,upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        let kind = Some("overlay");
        mount(kind, &root, kind, MsFlags::empty(), Some(options.as_str()))
            .map_err(said("overlay"))?;
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let shown = MACHINE.iter().map(Path::new).chain([file]);
        for path in shown {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(path), &inside(path), none, bind, none).map_err(said("bind"))?;
        }
        let [queues, shared] = POSIX.map(|path| inside(Path::new(path)));
        fs::create_dir(&queues).map_err(|e| e.to_string())?;
        for (kind, at) in [("mqueue", &queues), ("tmpfs", &shared)] {
            mount(Some(kind), at, Some(kind), MsFlags::empty(), none).map_err(said(kind))?;
        }
        std::env::set_current_dir(&root).map_err(|e| e.to_string())?;
        nix::unistd::pivot_root(".", ".").map_err(said("pivot_root"))?;
        umount2(".", MntFlags::MNT_DETACH).map_err(said("umount"))?;
        let marks = Marks::new();
        marks.add(Path::new("/")).map_err(said("mark an overlay"))?;
        // What is not seen says nothing unless something would be.
        fs::write("/of-the-test", "x").map_err(|e| e.to_string())?;
        if marks.events().is_empty() {
            return Err("the mark sees nothing".to_owned());
        }
        let host = Self(marks);
        for path in POSIX {
            let file = Path::new(path).join("of-the-test");
            fs::write(&file, "").map_err(|e| e.to_string())?;
            let seen = host.changes()?;
            if !seen.contains(&format!("of-the-test in {path}")) {
                return Err(format!("what is made in {path} is not seen: {seen:?}"));
            }
            fs::remove_file(&file).map_err(|e| e.to_string())?;
        }
        host.changes()?;
        Ok(host)
    }

    /// What has been done to it since, and what is left of messages and shared memory.
    pub(crate) fn changes(&self) -> Result<Vec<String>, String> {
        let mut changes: Vec<_> = self.0.events().iter().map(ToString::to_string).collect();
        for kind in ["msg", "sem", "shm"] {
            let path = format!("/proc/sysvipc/{kind}");
            let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            changes.extend(text.lines().skip(1).map(|line| format!("{kind} {line}")));
        }
        for path in POSIX {
            for entry in fs::read_dir(path).map_err(|e| format!("{path}: {e}"))? {
                let name = entry.map_err(|e| format!("{path}: {e}"))?.file_name();
                changes.push(format!("{} in {path}", name.to_string_lossy()));
            }
        }
        Ok(changes)
    }
}
