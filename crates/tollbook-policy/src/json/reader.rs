//! The grammar of RFC 8259, and nothing beyond it.
//!
//! What a value stands for is kept or passed over by whoever asks, so that there is one grammar for both. Strings are
//! looked through eight bytes at a time: most of a frame is strings.

use std::borrow::Cow;
use std::ops::Range;

use super::{DEPTH_MAX, Error, Fault, Number};

/// Most digits of a whole number whose millionths are told.
const SHORT_DIGITS_MAX: usize = 12;

/// What was read, or why not. Boxed, so that what was read comes in registers.
pub(super) type Read<T> = Result<T, Box<Error>>;

/// A place in a text, from which values are read.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// What begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// What the text has there.
    pub fn slice(&self, place: Range<usize>) -> &'a str {
        self.text.get(place).unwrap_or_default()
    }

    /// Reads the one value that the text is, white space around it aside.
    pub fn whole<T>(&mut self, value: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.space();
        let value = value(self)?;
        self.space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(self.fault(Fault::TrailingData, self.at, "")),
        }
    }

    /// What value begins here, `depth` arrays and objects deep.
    #[inline]
    pub fn begins(&self, depth: usize) -> Read<Begins> {
        if depth > DEPTH_MAX {
            return Err(self.fault(Fault::TooDeep, self.at, ""));
        }
        match self.peek() {
            Some(b'"') => Ok(Begins::String),
            Some(b'{') => Ok(Begins::Object),
            Some(b'[') => Ok(Begins::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Begins::Number),
            Some(b't') => Ok(Begins::True),
            Some(b'f') => Ok(Begins::False),
            Some(b'n') => Ok(Begins::Null),
            _ => Err(self.no_value()),
        }
    }

    /// Passes over the value that begins here. Equal keys in it aren't found.
    pub fn pass(&mut self, depth: usize) -> Read<()> {
        match self.begins(depth)? {
            Begins::String => self.string().map(drop),
            Begins::Object => self.object(|reader, _, _| reader.pass(depth + 1)),
            Begins::Array => self.array(|reader| reader.pass(depth + 1)),
            Begins::Number => self.number().map(drop),
            Begins::True => self.word("true"),
            Begins::False => self.word("false"),
            Begins::Null => self.word("null"),
        }
    }

    /// Reads an object. `member` is given each key and its place, and reads the value.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>, Range<usize>) -> Read<()>) -> Read<()> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.expected("expected a key in quotation marks"));
            }
            let key = self.string()?;
            let place = start..self.at;
            self.space();
            if !self.take(b':') {
                return Err(self.expected("expected `:`"));
            }
            self.space();
            member(self, key, place)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.expected("expected `,` or `}`"));
            }
            self.space();
        }
    }

    /// Reads an array. `element` reads each value.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.expected("expected `,` or `]`"));
            }
            self.space();
        }
    }

    /// Reads a string, its escapes resolved.
    #[inline(always)]
    pub fn string(&mut self) -> Read<Cow<'a, str>> {
        let start = self.at + 1;
        let end = start + plain(self.rest(start));
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(self.slice(start..end)));
        }
        self.at = start;
        self.escaped().map(Cow::Owned)
    }

    #[inline(never)]
    fn escaped(&mut self) -> Read<String> {
        let mut text = String::new();
        loop {
            let from = self.at;
            self.at += plain(self.rest(from));
            text.push_str(self.slice(from..self.at));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.expected("a control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let start = self.at;
        self.at += 1;
        let character = match self.peek() {
            Some(character @ (b'"' | b'\\' | b'/')) => char::from(character),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.unit()?;
                let pair = (0xd800..0xdc00).contains(&first) && self.rest(self.at).starts_with(b"\\u");
                if pair {
                    self.at += 1;
                }
                let second = if pair { Some(self.unit()?) } else { None };
                let mut characters = char::decode_utf16([first].into_iter().chain(second));
                return match (characters.next(), characters.next()) {
                    (Some(Ok(character)), None) => Ok(character),
                    _ => Err(self.fault(Fault::LoneSurrogate, start, "")),
                };
            }
            _ => return Err(self.expected("an escape that JSON doesn't have")),
        };
        self.at += 1;
        Ok(character)
    }

    /// The UTF-16 unit of an escape, at its `u`.
    fn unit(&mut self) -> Read<u16> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit =
                self.peek().and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| digit.try_into().ok());
            let Some(digit): Option<u16> = digit else { return Err(self.expected("expected four hexadecimal digits")) };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// Reads a number.
    pub fn number(&mut self) -> Read<Number<'a>> {
        let start = self.at;
        let negative = self.take(b'-');
        let whole = self.at;
        let value = self.digits().map_err(|error| match self.rest(whole).starts_with(b"Infinity") {
            true => self.fault(Fault::NotFinite, start, ""),
            false => error,
        })?;
        let digits = self.at - whole;
        if digits > 1 && self.rest(whole).starts_with(b"0") {
            self.at = whole + 1;
            return Err(self.expected("a number doesn't begin with 0"));
        }
        let mut short = !negative && digits <= SHORT_DIGITS_MAX;
        if self.take(b'.') {
            short = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            short = false;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let short_micros = if short { value * 1_000_000 } else { -1 };
        Ok(Number { text: self.slice(start..self.at), short_micros })
    }

    /// Reads digits, and tells their value where they are few.
    fn digits(&mut self) -> Read<i64> {
        let (start, mut value) = (self.at, 0_i64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start { Err(self.expected("expected a digit")) } else { Ok(value) }
    }

    /// Reads one of the three words.
    pub fn word(&mut self, word: &str) -> Read<()> {
        let same = self.rest(self.at).iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        if same < word.len() {
            self.at += same;
            return Err(self.expected("expected `true`, `false` or `null`"));
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        self.text.as_bytes().get(from..).unwrap_or_default()
    }

    #[cold]
    fn no_value(&self) -> Box<Error> {
        if [&b"NaN"[..], b"Infinity"].iter().any(|word| self.rest(self.at).starts_with(word)) {
            return self.fault(Fault::NotFinite, self.at, "");
        }
        self.expected("expected a value")
    }

    /// Something else stands here, or nothing any more.
    #[cold]
    fn expected(&self, what: &str) -> Box<Error> {
        match self.peek() {
            None => self.fault(Fault::Truncated, self.at, ""),
            Some(_) => self.fault(Fault::Syntax, self.at, what),
        }
    }

    #[cold]
    fn fault(&self, fault: Fault, at: usize, detail: &str) -> Box<Error> {
        Box::new(Error { fault, at, detail: detail.to_owned() })
    }
}

/// How many of these bytes of a string stand for themselves: those before a quotation mark, a backslash or a control.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return number * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, 0..b' ' | b'"' | b'\\'));
    words.len() * 8 + end.unwrap_or(rest.len())
}

/// The high bit of each byte of a word that doesn't stand for itself, up to the lowest of them at least.
fn marks(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    // Beneath a bound, a byte borrows from its high bit; one that has it already is none of these.
    let beneath = |word: u64, bound: u8| word.wrapping_sub(EACH * u64::from(bound)) & !word;
    let is = |byte: u8| beneath(word ^ (EACH * u64::from(byte)), 1);
    (beneath(word, b' ') | is(b'"') | is(b'\\')) & (EACH << 7)
}
