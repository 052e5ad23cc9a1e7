//! Names by the numbers that they have in the file that a log is read from.
//!
//! A file of columns holds each name once and numbers it. Whoever keeps something by name can keep it by that number
//! too, and then has to look at each name but once in a file, and not at each call.

/// The numbers that the names of a call have in the file that it is read from. Equal numbers are equal names. That of
/// a name which the call hasn't got means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// The first event whose names are numbered so. Numbers since another event, or of another instance, are others.
    pub since_seq: u64,
    /// Of [`RecordRef::server`](crate::RecordRef::server).
    pub server: u32,
    /// Of [`RecordRef::session`](crate::RecordRef::session).
    pub session: u32,
    /// Of [`RecordRef::grant`](crate::RecordRef::grant).
    pub grant: u32,
    /// Of [`RecordRef::agent`](crate::RecordRef::agent).
    pub agent: u32,
    /// Of [`RecordRef::tool`](crate::RecordRef::tool).
    pub tool: u32,
    /// Of [`RecordRef::category`](crate::RecordRef::category).
    pub category: u32,
}

/// One of those numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    since_seq: u64,
    number: u32,
}

impl Code {
    /// The number of one of a call's names, where they are numbered.
    #[inline(always)]
    pub fn of(codes: Option<&Codes>, name: impl FnOnce(&Codes) -> u32) -> Option<Self> {
        codes.map(|codes| Self { since_seq: codes.since_seq, number: name(codes) })
    }
}

/// What is kept by such numbers, of one instance: what belongs to others is forgotten soon after new ones come.
#[derive(Debug)]
pub struct Coded<T> {
    since_seq: u64,
    kept: Vec<T>,
    nothing: T,
    /// What wasn't kept since, because its number was another's.
    others: u32,
}

/// So many others have to come before what is kept makes room for theirs. Where events come from two files by turns,
/// as those of an import may, beginning anew at each of them would take longer than everything else.
const OTHERS_MAX: u32 = 64;

/// Numbers that aren't smaller aren't kept. A file has so many names only where they are all different.
const CODES_MAX: usize = 1 << 16;

impl<T: Copy> Coded<T> {
    /// Keeps nothing yet, and never `nothing`.
    pub fn new(nothing: T) -> Self {
        Self { since_seq: 0, kept: Vec::new(), nothing, others: 0 }
    }

    /// What is kept, or else nothing.
    #[inline(always)]
    pub fn get(&self, code: Code) -> T {
        if code.since_seq != self.since_seq {
            return self.nothing;
        }
        let place = usize::try_from(code.number).ok();
        place.and_then(|place| self.kept.get(place)).copied().unwrap_or(self.nothing)
    }

    /// Keeps something, unless others are kept that came not long before.
    pub fn keep(&mut self, code: Code, value: T) {
        if self.since_seq != code.since_seq {
            self.others += 1;
            if self.others < OTHERS_MAX && !self.kept.is_empty() {
                return;
            }
            (self.since_seq, self.others) = (code.since_seq, 0);
            self.kept.clear();
        }
        let Some(place) = usize::try_from(code.number).ok().filter(|place| *place < CODES_MAX) else { return };
        if place >= self.kept.len() {
            self.kept.resize(place + 1, self.nothing);
        }
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = value;
        }
    }

    /// The numbers of another instance follow.
    pub fn forget(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests;
