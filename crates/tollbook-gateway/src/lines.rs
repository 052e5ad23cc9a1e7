//! Bytes, as they come, cut into lines.

use std::io;
use std::os::fd::AsFd;

use memchr::memchr;

/// How much is asked for at once, in bytes. Under load each read wakes somebody, and lines that came together are
/// judged together.
const READ_BYTES: usize = 64 << 10;

/// Memory that is kept from one line to the next, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// What has come of a stream and was not taken yet.
pub(crate) struct Lines {
    line_bytes_max: usize,
    bytes: Vec<u8>,
    whole: Vec<Whole>,
    /// Bytes of the line that goes on which were dropped, because it is too long.
    dropped: usize,
}

/// A line that has come to its end.
struct Whole {
    end: usize,
    /// Its length, where that is more than may be.
    too_long: Option<usize>,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'b> {
    /// As it came, its end included; the last one of a stream may have none.
    Frame(&'b [u8]),
    /// More than may be; it was read to its end and dropped.
    TooLong {
        /// How long it was, its end included.
        bytes: usize,
    },
}

impl Lines {
    /// Nothing yet. A line has at most so many bytes, its end left out.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, bytes: Vec::new(), whole: Vec::new(), dropped: 0 }
    }

    /// Reads once. False where the stream has ended.
    pub fn fill(&mut self, from: impl AsFd) -> io::Result<bool> {
        self.bytes.reserve(READ_BYTES);
        let came = self.bytes.len();
        let read = loop {
            match rustix::io::read(&from, rustix::buffer::spare_capacity(&mut self.bytes)) {
                Err(rustix::io::Errno::INTR) => {}
                read => break read?,
            }
        };
        match read {
            0 => self.end(),
            _ => self.cut(came),
        }
        Ok(read > 0)
    }

    /// As if so much had been read.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn push(&mut self, bytes: &[u8]) {
        let came = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.cut(came);
    }

    /// What has come last is a line, though nothing ends it.
    pub fn end(&mut self) {
        let (end, rest) = (self.bytes.len(), self.bytes.len() - self.start());
        let too_long = (self.dropped > 0).then(|| self.dropped + rest);
        if rest > 0 || too_long.is_some() {
            self.whole.push(Whole { end, too_long });
        }
        self.dropped = 0;
    }

    /// The lines that have come whole.
    pub fn whole(&self) -> Vec<Line<'_>> {
        let mut start = 0;
        let line = |Whole { end, too_long }: &Whole| {
            let frame = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            too_long.map_or(Line::Frame(frame), |bytes| Line::TooLong { bytes })
        };
        self.whole.iter().map(line).collect()
    }

    /// Whether the line that goes on is longer than one may be.
    pub fn goes_on_too_long(&self) -> bool {
        self.dropped > 0
    }

    /// Those that have come whole were taken.
    pub fn take(&mut self) {
        self.bytes.drain(..self.start());
        self.whole.clear();
        if self.bytes.len() < KEPT_BYTES {
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// Where the line begins that goes on.
    fn start(&self) -> usize {
        self.whole.last().map_or(0, |last| last.end)
    }

    /// Finds the ends of lines in what was added, which begins there.
    fn cut(&mut self, mut from: usize) {
        let mut start = self.start();
        while let Some(at) = memchr(b'\n', self.bytes.get(from..).unwrap_or_default()) {
            let end = from + at + 1;
            let length = self.dropped + end - start;
            let too_long = (length - 1 > self.line_bytes_max).then_some(length);
            self.whole.push(Whole { end, too_long });
            self.dropped = 0;
            (start, from) = (end, end);
        }
        let rest = self.bytes.len() - start;
        if self.dropped + rest > self.line_bytes_max {
            self.dropped += rest;
            self.bytes.truncate(start);
        }
    }
}

#[cfg(test)]
mod tests;
