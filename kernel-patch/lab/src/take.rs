//! Files that are copied out of a machine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::protocol::Message;

/// A file or directory of the machine, and where it goes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// There; absolute.
    pub source: String,
    /// Here.
    pub target: PathBuf,
}

impl Take {
    /// Reads `SOURCE` (which comes to the same path here) or `SOURCE:TARGET`.
    ///
    /// # Errors
    /// When the source is not an absolute path without `.` and `..`.
    pub fn parse(text: &str) -> Result<Self> {
        let (source, target) = text.split_once(':').unwrap_or((text, text));
        let mut parts = Path::new(source).components();
        let plain = parts.next() == Some(Component::RootDir)
            && parts.all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && !target.is_empty(),
            "--take {text:?}: a path from the machine's root on is needed, and after a colon, if \
                it is to be elsewhere here, a path here"
        );
        Ok(Self {
            source: source.trim_end_matches('/').to_owned(),
            target: target.into(),
        })
    }
}

/// Writes the files that a machine hands over. Nothing is written but what was asked for, and
/// nothing is overwritten.
#[derive(Debug)]
pub struct Receiver<'a> {
    takes: &'a [Take],
    open: Option<Open>,
    files: usize,
    error: Option<anyhow::Error>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl<'a> Receiver<'a> {
    /// For these.
    #[must_use]
    pub fn new(takes: &'a [Take]) -> Self {
        Self {
            takes,
            open: None,
            files: 0,
            error: None,
        }
    }

    /// Takes a message. The first error ends the writing and is kept for [`Receiver::finish`].
    pub fn hear(&mut self, message: &Message) {
        if self.error.is_none() {
            self.error = self.write(message).err();
        }
    }

    /// How many files came.
    ///
    /// # Errors
    /// When one could not be written, or did not come whole.
    pub fn finish(self) -> Result<usize> {
        match (self.error, self.open) {
            (Some(error), _) => Err(error),
            (None, Some(open)) => bail!(
                "{} did not come whole out of the machine",
                open.path.display()
            ),
            (None, None) => Ok(self.files),
        }
    }

    fn write(&mut self, message: &Message) -> Result<()> {
        match message {
            Message::File(path) => {
                ensure!(
                    self.open.is_none(),
                    "the machine began a file within another"
                );
                let path = self.place(Path::new(path))?;
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)
                        .with_context(|| format!("cannot make {}", parent.display()))?;
                }
                let file = File::create_new(&path).with_context(|| {
                    format!("cannot make {}; nothing is overwritten", path.display())
                })?;
                self.open = Some(Open {
                    file,
                    path,
                    size_bytes: 0,
                });
            }
            Message::Piece(bytes) => {
                let open = self
                    .open
                    .as_mut()
                    .context("the machine sent bytes of no file")?;
                open.file
                    .write_all(bytes)
                    .with_context(|| format!("cannot write {}", open.path.display()))?;
                open.size_bytes += u64::try_from(bytes.len()).context("a piece's size")?;
            }
            Message::FileEnd { size_bytes } => {
                let open = self.open.take().context("the machine ended no file")?;
                ensure!(
                    open.size_bytes == *size_bytes,
                    "{} has {size_bytes} bytes in the machine, and {} came",
                    open.path.display(),
                    open.size_bytes
                );
                self.files += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// The target of a file of the machine. The machine is not trusted to send only what was asked
    /// for.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let asked = |take: &Take| {
            let rest = path.strip_prefix(&take.source).ok()?;
            let inside = rest
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            inside.then(|| match rest.as_os_str().is_empty() {
                true => take.target.clone(),
                false => take.target.join(rest),
            })
        };
        self.takes.iter().find_map(asked).with_context(|| {
            format!(
                "the machine sent {}, which was not asked for",
                path.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<Message> {
        vec![
            Message::File(path.to_owned()),
            Message::Piece(text.as_bytes().to_vec()),
            Message::FileEnd {
                size_bytes: text.len() as u64,
            },
        ]
    }

    fn receive(takes: &[Take], messages: &[Message]) -> Result<usize> {
        let mut receiver = Receiver::new(takes);
        for message in messages {
            receiver.hear(message);
        }
        receiver.finish()
    }

    #[test]
    fn a_directory_comes_with_all_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let takes = [Take::parse(&format!("/out/:{}", dir.path().join("here").display())).unwrap()];
        let messages = [file("/out/a", "1"), file("/out/deep/b", "22")].concat();
        assert_eq!(receive(&takes, &messages).unwrap(), 2);
        let text = fs::read_to_string(dir.path().join("here/deep/b")).unwrap();
        assert_eq!(text, "22");
        // The second time they exist already, and are not changed.
        let error = format!("{:#}", receive(&takes, &messages).unwrap_err());
        assert!(error.contains("nothing is overwritten"), "{error}");
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let takes = [Take::parse(&format!("/out:{}", dir.path().join("in").display())).unwrap()];
        for path in [
            "/etc/passwd",
            "/out/../../x",
            "/outside",
            "relative",
            "/out/a/../../b",
        ] {
            let error = receive(&takes, &file(path, "x")).unwrap_err().to_string();
            assert!(error.contains("not asked for"), "{path}: {error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn half_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let take = |name: &str| {
            [Take::parse(&format!("/out:{}", dir.path().join(name).display())).unwrap()]
        };
        let messages = file("/out/a", "text");
        let error = receive(&take("cut"), &messages[..2])
            .unwrap_err()
            .to_string();
        assert!(error.contains("did not come whole"), "{error}");
        let missing = [messages[0].clone(), messages[2].clone()];
        let error = receive(&take("short"), &missing).unwrap_err().to_string();
        assert!(
            error.contains("has 4 bytes in the machine, and 0 came"),
            "{error}"
        );
    }

    #[test]
    fn a_source_is_absolute() {
        assert_eq!(Take::parse("/a/b").unwrap().target, Path::new("/a/b"));
        for text in ["a", "", "/a/../b", "/a:", "~/x"] {
            assert!(Take::parse(text).is_err(), "{text}");
        }
    }
}
