//! Values by name, found by numbers: a name is looked up as it comes, and copied when it is new.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tollbook_engine::Ends;

/// The numbers of names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(HashTable<(Ends, u32)>);

/// Values by name, each with a number, from 0 in the order in which they came.
#[derive(Debug)]
pub(crate) struct Named<V> {
    /// Shuffled, since sessions are named by clients.
    hasher: RandomState,
    numbers: HashTable<(Ends, u32)>,
    entries: Vec<(Box<str>, V)>,
    /// Names that came lately, each at the place that its ends tell: most calls are of those, and that is all the
    /// search there is for them.
    recent: Vec<Option<(Ends, u32)>>,
}

/// How many names that came lately are kept at hand.
const RECENT: usize = 256;

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), numbers: HashTable::new(), entries: Vec::new(), recent: Vec::new() }
    }
}

impl<V> Named<V> {
    /// The number of a name.
    #[inline(always)]
    pub fn find(&mut self, name: &str) -> Option<u32> {
        let ends = Ends::of(name.as_bytes());
        let place = usize::try_from(ends.hash() % RECENT as u64).unwrap_or(0);
        match self.recent.get(place) {
            Some(Some(recent)) if self.is(*recent, ends, name) => Some(recent.1),
            _ => self.find_any(name, ends, place),
        }
    }

    #[inline(never)]
    fn find_any(&mut self, name: &str, ends: Ends, place: usize) -> Option<u32> {
        let is_it = |known: &(Ends, u32)| self.is(*known, ends, name);
        let found = *self.numbers.find(self.hasher.hash_one(name), is_it)?;
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = Some(found);
        }
        Some(found.1)
    }

    #[inline]
    fn is(&self, (known, number): (Ends, u32), ends: Ends, name: &str) -> bool {
        known == ends && (ends.are_all() || self.name(number).is_some_and(|known| known == name))
    }

    /// Adds a name that isn't there, and returns its number.
    #[inline(never)]
    pub fn add(&mut self, name: &str, value: V) -> u32 {
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((name.into(), value));
        let (hasher, entries) = (&self.hasher, &self.entries);
        let hash =
            |(_, number): &(Ends, u32)| entries.get(index(*number)).map_or(0, |(name, _)| hasher.hash_one(&**name));
        self.numbers.insert_unique(hasher.hash_one(name), (Ends::of(name.as_bytes()), number), hash);
        number
    }

    /// The number of a name, which is added where it isn't there.
    #[inline]
    pub fn number(&mut self, name: &str) -> u32
    where
        V: Default,
    {
        self.find(name).unwrap_or_else(|| self.add(name, V::default()))
    }

    pub fn get(&self, number: u32) -> Option<&V> {
        self.entries.get(index(number)).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut V> {
        self.entries.get_mut(index(number)).map(|(_, value)| value)
    }

    pub fn name(&self, number: u32) -> Option<&str> {
        self.entries.get(index(number)).map(|(name, _)| &**name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    /// From here on every name is new. What has a number keeps it, and goes on being found by it where the numbers
    /// that are returned are [taken up](Self::go_on) again.
    pub fn begin(&mut self) -> Numbers {
        self.recent.clear();
        Numbers(std::mem::take(&mut self.numbers))
    }

    /// From here on names have these numbers again.
    pub fn go_on(&mut self, numbers: &Numbers) {
        self.recent.clear();
        self.numbers.clone_from(&numbers.0);
    }
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
