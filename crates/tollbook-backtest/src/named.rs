//! Values by name, found by numbers: a name is looked up as it comes, and copied when it is new.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Values by name, each with a number, from 0 in the order in which they came.
#[derive(Debug)]
pub(crate) struct Named<V> {
    /// Shuffled, since sessions are named by clients.
    hasher: RandomState,
    numbers: HashTable<u32>,
    entries: Vec<(Box<str>, V)>,
    /// The name that was looked up last: calls of one session most often follow each other.
    last: Option<u32>,
}

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), numbers: HashTable::new(), entries: Vec::new(), last: None }
    }
}

impl<V> Named<V> {
    /// The number of a name.
    pub fn find(&mut self, name: &str) -> Option<u32> {
        let entry = |number: u32| self.entries.get(index(number)).filter(|(known, _)| **known == *name);
        if let Some(last) = self.last.filter(|last| entry(*last).is_some()) {
            return Some(last);
        }
        let found = self.numbers.find(self.hasher.hash_one(name), |number| entry(*number).is_some()).copied();
        self.last = found.or(self.last);
        found
    }

    /// Adds a name that isn't there, and returns its number.
    pub fn add(&mut self, name: &str, value: V) -> u32 {
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((name.into(), value));
        let (hasher, entries) = (&self.hasher, &self.entries);
        let hash = |number: &u32| entries.get(index(*number)).map_or(0, |(name, _)| hasher.hash_one(&**name));
        self.numbers.insert_unique(self.hasher.hash_one(name), number, hash);
        self.last = Some(number);
        number
    }

    /// The number of a name, which is added where it isn't there.
    pub fn number(&mut self, name: &str) -> u32
    where
        V: Default,
    {
        self.find(name).unwrap_or_else(|| self.add(name, V::default()))
    }

    /// The value of a name, which is added where it isn't there.
    pub fn of(&mut self, name: &str) -> Option<&mut V>
    where
        V: Default,
    {
        let number = self.number(name);
        self.get_mut(number)
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

    /// From here on every name is new. What has a number keeps it.
    pub fn begin(&mut self) {
        self.numbers.clear();
        self.last = None;
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
