//! Server-sent events, cut out of a stream as they came.
//!
//! An event is passed on once it is whole, which is when a client acts upon it, with its own bytes. Only where
//! the desk keeps something of its payload back are its `data` lines written anew.

/// Cuts events out of chunks of bytes.
#[derive(Debug, Default)]
pub(crate) struct Events {
    held: Vec<u8>,
    /// Bytes of `held` that lie in whole lines.
    lines: usize,
    begun: bool,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// As it came, the empty line at its end included.
    pub raw: Vec<u8>,
    /// Its `data` lines, joined; none where it has none.
    pub data: Option<Vec<u8>>,
    /// By which a client can go on behind it on another stream.
    pub id: Option<Vec<u8>>,
}

impl Events {
    /// Takes in what came.
    pub fn push(&mut self, chunk: &[u8]) {
        self.held.extend_from_slice(chunk);
    }

    /// Bytes that are held because their event isn't whole.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The next whole event.
    pub fn next(&mut self) -> Option<Event> {
        while let Some((content, line)) = first_line(self.held.get(self.lines..)?) {
            self.lines += line;
            if content == 0 && self.lines > line {
                let rest = self.held.split_off(self.lines);
                let raw = std::mem::replace(&mut self.held, rest);
                self.lines = 0;
                let first = !std::mem::replace(&mut self.begun, true);
                return Some(Event::of(raw, first));
            }
        }
        None
    }
}

/// Length of the first line without and with its end; none where it may go on. A carriage return that nothing
/// follows may be half of a line's end.
fn first_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let at = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\n'), _) => Some((at, at + 1)),
        (_, Some(b'\n')) => Some((at, at + 2)),
        (_, Some(_)) => Some((at, at + 1)),
        (_, None) => None,
    }
}

impl Event {
    fn of(raw: Vec<u8>, first: bool) -> Self {
        let (mut data, mut id): (Option<Vec<u8>>, _) = (None, None);
        for line in lines(&raw, first) {
            match field(line) {
                (b"data", value) => match &mut data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => data = Some(value.to_vec()),
                },
                (b"id", value) => id = Some(value.to_vec()),
                _ => {}
            }
        }
        Self { raw, data, id }
    }

    /// The event with another payload.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut event = Vec::with_capacity(self.raw.len());
        for line in lines(&self.raw, true).filter(|line| !line.is_empty() && field(line).0 != b"data") {
            event.extend_from_slice(line);
            event.push(b'\n');
        }
        event.extend(message(data));
        event
    }
}

/// An event of a payload.
pub(crate) fn message(data: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(data.len() + 16);
    for line in data.trim_ascii_end().split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}

/// The lines, without their ends. A reader drops the mark with which a stream may begin.
fn lines(raw: &[u8], first: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw.strip_prefix("\u{feff}".as_bytes()).filter(|_| first).unwrap_or(raw);
    std::iter::from_fn(move || {
        let (content, line) = first_line(rest).or((!rest.is_empty()).then_some((rest.len(), rest.len())))?;
        let found = rest.get(..content)?;
        rest = rest.get(line..)?;
        Some(found)
    })
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b':') {
        Some(at) => {
            let value = line.get(at + 1..).unwrap_or_default();
            (line.get(..at).unwrap_or_default(), value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests;
