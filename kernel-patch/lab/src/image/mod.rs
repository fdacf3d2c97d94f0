//! The initramfs: init, the project's programs as static binaries, what the user adds, and the job.

mod cpio;
mod programs;

pub use cpio::Writer;
pub use programs::{Programs, Suite, shared_libraries, workspace_root};

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::protocol::{JOB_PATH, Job};

/// A file or directory of this machine that goes into the image.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it is there.
    pub target: String,
}

impl Addition {
    /// Reads `SOURCE` (which goes to `/bin/NAME`) or `SOURCE:TARGET`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((source, target)) => Self {
                source: source.into(),
                target: target.to_owned(),
            },
            None => {
                let name = Path::new(text)
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned());
                Self {
                    source: text.into(),
                    target: format!("/bin/{}", name.unwrap_or_default()),
                }
            }
        }
    }
}

/// The bytes of an initramfs that does `job` with `programs` and `additions` at hand.
///
/// # Errors
/// When a file cannot be read, or a program's shared libraries cannot be found.
pub fn initramfs(programs: &Programs, additions: &[Addition], job: &Job) -> Result<Vec<u8>> {
    let mut writer = Writer::new();
    for path in [
        "proc", "sys", "dev", "tmp", "mnt", "run", "root", "bin", "sbin", "etc",
    ] {
        writer.directory(path);
    }
    writer.character("dev/console", 5, 1);
    writer.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/false\n",
    );
    writer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    writer.file("init", 0o755, &read(&programs.init)?);
    for (name, path) in &programs.tools {
        writer.file(&format!("bin/{name}"), 0o755, &read(path)?);
    }
    let mut libraries = std::collections::BTreeSet::new();
    for addition in additions {
        add(
            &mut writer,
            &addition.source,
            &addition.target,
            &mut libraries,
        )?;
    }
    for library in libraries {
        writer.file(&library.to_string_lossy(), 0o755, &read(&library)?);
    }
    let job = serde_json::to_vec(job).context("encode the job")?;
    writer.file(JOB_PATH, 0o644, &job);
    Ok(writer.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Adds a file, with the shared libraries that it needs, or a directory with all below it.
fn add(
    writer: &mut Writer,
    source: &Path,
    target: &str,
    libraries: &mut std::collections::BTreeSet<PathBuf>,
) -> Result<()> {
    let info = fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    if info.is_dir() {
        writer.directory(target);
        let mut entries = fs::read_dir(source)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot list {}", source.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            add(
                writer,
                &entry.path(),
                &format!("{target}/{}", name.to_string_lossy()),
                libraries,
            )?;
        }
        return Ok(());
    }
    let data = read(source)?;
    if data.starts_with(b"\x7fELF") {
        libraries.extend(shared_libraries(source)?);
    }
    writer.file(target, info.permissions().mode(), &data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_has_a_default_place() {
        let plain = Addition::parse("/usr/bin/busybox");
        assert_eq!(
            (plain.source.as_path(), plain.target.as_str()),
            (Path::new("/usr/bin/busybox"), "/bin/busybox")
        );
        assert_eq!(Addition::parse("a:/lib/b").target, "/lib/b");
    }
}
