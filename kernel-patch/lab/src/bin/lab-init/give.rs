//! Files that go back to the lab, over the channel, because a machine without a network or a disk
//! has no other way out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lab::protocol::Message;

use crate::channel::Channel;

/// Bytes of a file in one line of the channel.
const PIECE_BYTES: usize = 3 << 10;

/// Hands over the regular files at `place` or below it, by name. A missing path has no files: the
/// step that was to make it reports its own failure.
pub(crate) fn give(channel: &mut Channel, place: &str) -> Result<()> {
    for path in regular_files(Path::new(place))? {
        let what = || format!("hand over {}", path.display());
        let mut file = File::open(&path).with_context(what)?;
        channel.say(&Message::File(path.to_string_lossy().into_owned()))?;
        let mut size_bytes = 0;
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            piece.clear();
            let limit = u64::try_from(PIECE_BYTES).context("a piece's size")?;
            let count = (&mut file)
                .take(limit)
                .read_to_end(&mut piece)
                .with_context(what)?;
            if count == 0 {
                break;
            }
            size_bytes += u64::try_from(count).context("a piece's size")?;
            channel.say(&Message::Piece(piece.clone()))?;
        }
        channel.say(&Message::FileEnd { size_bytes })?;
    }
    Ok(())
}

fn regular_files(place: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("look for files in {}", place.display());
    let info = match fs::symlink_metadata(place) {
        Ok(info) => info,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(what),
    };
    if info.is_file() {
        return Ok(vec![place.to_path_buf()]);
    }
    let mut files = Vec::new();
    if info.is_dir() {
        let mut entries = fs::read_dir(place)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(what)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            files.extend(regular_files(&entry.path())?);
        }
    }
    Ok(files)
}
