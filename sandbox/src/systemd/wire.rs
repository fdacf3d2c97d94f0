//! As much of D-Bus as a call to systemd's own socket takes: a few types, one byte order, no bus.
//!
//! Source: <https://dbus.freedesktop.org/doc/dbus-specification.html>.

/// Values that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    /// `au`.
    Numbers(&'a [u32]),
}

impl Value<'_> {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bool(_) => "b",
            Self::Numbers(_) => "au",
        }
    }
}

/// A message that grows; everything is aligned from its beginning.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        let length = self.0.len().next_multiple_of(to);
        self.0.resize(length, 0);
    }

    pub(super) fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(0));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    fn variant(&mut self, value: &Value<'_>) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(value) => self.number(u32::from(*value)),
            Value::Numbers(numbers) => self.array(4, |writer| {
                numbers.iter().for_each(|number| writer.number(*number));
            }),
        }
    }

    /// An array whose elements are aligned to `alignment`.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        elements(self);
        let bytes = length(self.0.len() - begin).to_le_bytes();
        if let Some(room) = self.0.get_mut(at..at + 4) {
            room.copy_from_slice(&bytes);
        }
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(&str, Value<'_>)]) {
        self.array(8, |writer| {
            for (name, value) in properties {
                writer.align(8);
                writer.text(name);
                writer.variant(value);
            }
        });
    }

    /// An empty array of structures.
    pub(super) fn nothing(&mut self) {
        self.array(8, |_| {});
    }
}

fn length(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// A call of a method of systemd's manager.
pub(super) fn call(serial: u32, method: &str, signature: &str, body: Writer) -> Vec<u8> {
    const FIELDS: [(u8, &str, &str); 3] = [
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (6, "s", "org.freedesktop.systemd1"),
    ];
    let mut message = Writer(vec![b'l', 1, 0, 1]);
    message.number(length(body.0.len()));
    message.number(serial);
    message.array(8, |writer| {
        let method = [(3, "s", method)];
        for (code, kind, text) in FIELDS.into_iter().chain(method) {
            writer.align(8);
            writer.0.push(code);
            writer.signature(kind);
            writer.text(text);
        }
        writer.align(8);
        writer.0.push(8);
        writer.signature("g");
        writer.signature(signature);
    });
    message.align(8);
    message.0.extend_from_slice(&body.0);
    message.0
}

/// What a message is about, and the texts in its body up to the first value of another kind than
/// text or number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// 2: an answer, 3: an error, 4: a signal.
    pub(super) kind: u8,
    pub(super) answers: Option<u32>,
    pub(super) error: Option<String>,
    pub(super) member: Option<String>,
    pub(super) texts: Vec<String>,
}

/// Bytes of a message before its fields.
pub(super) const HEAD: usize = 16;
/// The most that a message may have, by the specification.
const MOST: usize = 128 << 20;

/// How many bytes follow the first 16. `None`: it is no message of this byte order.
pub(super) fn rest(head: &[u8; HEAD]) -> Option<usize> {
    let mut reader = Reader { bytes: head, at: 4 };
    let body = usize::try_from(reader.number()?).ok()?;
    reader.at = 12;
    let fields = usize::try_from(reader.number()?).ok()?;
    let rest = fields.checked_next_multiple_of(8)?.checked_add(body)?;
    (head[0] == b'l' && rest <= MOST).then_some(rest)
}

/// Reads a whole message.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let mut message = Message {
        kind: *bytes.get(1)?,
        ..Message::default()
    };
    let mut reader = Reader { bytes, at: 12 };
    let end = HEAD + usize::try_from(reader.number()?).ok()?;
    let mut signature = String::new();
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        let kind = reader.signature()?;
        match (code, kind.as_str()) {
            (3, "s") => message.member = Some(reader.text()?),
            (4, "s") => message.error = Some(reader.text()?),
            (5, "u") => message.answers = Some(reader.number()?),
            (8, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number()?),
            _ => return None,
        }
    }
    reader.align(8);
    for kind in signature.chars() {
        match kind {
            's' | 'o' => message.texts.push(reader.text()?),
            'u' => drop(reader.number()?),
            _ => break,
        }
    }
    Some(message)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn string(&mut self, length: usize) -> Option<String> {
        let end = self.at.checked_add(length)?;
        let text = String::from_utf8_lossy(self.bytes.get(self.at..end)?).into_owned();
        // The zero behind it.
        self.at = end + 1;
        Some(text)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.string(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.string(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_comes_back_as_it_was_written() {
        let mut body = Writer::default();
        body.text("x.scope");
        body.text("fail");
        body.properties(&[
            ("Delegate", Value::Bool(true)),
            ("PIDs", Value::Numbers(&[7, 8])),
            ("Description", Value::Text("y")),
        ]);
        body.nothing();
        let bytes = call(3, "StartTransientUnit", "ssa(sv)a(sa(sv))", body);
        let head = bytes[..HEAD].try_into().unwrap();
        assert_eq!(rest(head), Some(bytes.len() - HEAD));
        let message = parse(&bytes).unwrap();
        assert_eq!(message.kind, 1);
        assert_eq!(message.member.as_deref(), Some("StartTransientUnit"));
        assert_eq!(message.texts, ["x.scope", "fail"]);
    }

    /// An answer as systemd 252 sends it.
    #[test]
    fn an_answer_is_read() {
        let mut bytes = vec![b'l', 2, 1, 1];
        let mut writer = Writer(std::mem::take(&mut bytes));
        writer.number(10);
        writer.number(1);
        writer.array(8, |writer| {
            writer.0.push(5);
            writer.signature("u");
            writer.number(3);
            writer.align(8);
            writer.0.push(8);
            writer.signature("g");
            writer.signature("o");
        });
        writer.align(8);
        writer.text("/job/1");
        let message = parse(&writer.0).unwrap();
        assert_eq!((message.kind, message.answers), (2, Some(3)));
        assert_eq!(message.texts, ["/job/1"]);
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let bytes = call(1, "M", "s", {
            let mut body = Writer::default();
            body.text("abc");
            body
        });
        for length in 0..bytes.len() - 1 {
            assert_eq!(parse(&bytes[..length]), None, "{length}");
        }
        assert_eq!(rest(&[0xff; HEAD]), None);
    }
}
