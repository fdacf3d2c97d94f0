//! A file that may be compressed: `name`, or `name.zst`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// The level that keeps a repository small: recorded once, cloned often.
const LEVEL: i32 = 19;

/// The content, or nothing if neither file exists.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let plain = dir.join(name);
    match fs::read(&plain) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        other => {
            return other
                .map(Some)
                .with_context(|| format!("could not read {}", plain.display()));
        }
    }
    let packed = dir.join(format!("{name}.zst"));
    match fs::read(&packed) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(anyhow!(e)).with_context(|| format!("could not read {}", packed.display())),
        Ok(bytes) => zstd::decode_all(bytes.as_slice())
            .map(Some)
            .with_context(|| format!("could not decompress {}", packed.display())),
    }
}

/// The content; that there is none is an error.
pub(super) fn need(dir: &Path, name: &str) -> Result<Vec<u8>> {
    read(dir, name)?.with_context(|| {
        format!(
            "{} holds neither {name} nor {name}.zst: it is not the directory of a campaign \
                (scenario measure --out DIR makes one)",
            dir.display()
        )
    })
}

/// Writes `name.zst`.
pub(super) fn write_packed(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = dir.join(format!("{name}.zst"));
    let packed =
        zstd::encode_all(content, LEVEL).with_context(|| format!("could not compress {name}"))?;
    fs::write(&path, packed).with_context(|| format!("could not write {}", path.display()))
}
