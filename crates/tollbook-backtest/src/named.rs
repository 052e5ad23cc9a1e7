//! Values by name, found by numbers: a name is looked up as it comes, and copied when it is new.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tollbook_engine::{Code, Coded};

/// The numbers of names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(HashTable<Hashed>);

/// A name's number, with the name's hash: a table that grows then looks at no name again, of which there may be millions.
type Hashed = (u64, u32);

/// Values by name, each with a number, from 0 in the order in which they came.
#[derive(Debug)]
pub(crate) struct Named<V> {
    /// Shuffled, since sessions are named by clients.
    hasher: RandomState,
    numbers: HashTable<Hashed>,
    entries: Vec<(Box<str>, V)>,
    /// Numbers by the codes of names, or else [`UNSEEN`]: a name that has one is found without a look at it.
    coded: Coded<u32>,
}

/// What no name is numbered.
const UNSEEN: u32 = u32::MAX;

impl<V> Default for Named<V> {
    fn default() -> Self {
        let (hasher, numbers) = (RandomState::default(), HashTable::new());
        Self { hasher, numbers, entries: Vec::new(), coded: Coded::new(UNSEEN) }
    }
}

impl<V> Named<V> {
    /// The number of a name, with the code that it came with.
    #[inline(always)]
    pub fn find(&mut self, name: &str, code: Option<Code>) -> Option<u32> {
        match code.map_or(UNSEEN, |code| self.coded.get(code)) {
            UNSEEN => self.find_any(name, code),
            number => Some(number),
        }
    }

    #[inline(never)]
    fn find_any(&mut self, name: &str, code: Option<Code>) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let is_it = |(known, number): &Hashed| *known == hash && self.name(*number) == Some(name);
        let (_, number) = *self.numbers.find(hash, is_it)?;
        self.keep(code, number);
        Some(number)
    }

    /// Keeps a number at hand.
    fn keep(&mut self, code: Option<Code>, number: u32) {
        if let Some(code) = code {
            self.coded.keep(code, number);
        }
    }

    /// Adds a name that isn't there, and returns its number.
    #[inline(never)]
    pub fn add(&mut self, name: &str, code: Option<Code>, value: V) -> u32 {
        let number = u32::try_from(self.entries.len()).unwrap_or(UNSEEN);
        self.entries.push((name.into(), value));
        let hash = self.hasher.hash_one(name);
        self.numbers.insert_unique(hash, (hash, number), |(hash, _)| *hash);
        self.keep(code, number);
        number
    }

    /// The number of a name, which is added where it isn't there.
    #[inline(always)]
    pub fn number(&mut self, name: &str, code: Option<Code>) -> u32
    where
        V: Default,
    {
        self.find(name, code).unwrap_or_else(|| self.add(name, code, V::default()))
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

    /// Names come with the codes of another instance from here on.
    pub fn forget_codes(&mut self) {
        self.coded.forget();
    }

    /// From here on every name is new. What has a number keeps it, and goes on being found by it where the numbers
    /// that are returned are [taken up](Self::go_on) again.
    pub fn begin(&mut self) -> Numbers {
        self.forget_codes();
        Numbers(std::mem::take(&mut self.numbers))
    }

    /// From here on names have these numbers again.
    pub fn go_on(&mut self, numbers: &Numbers) {
        self.forget_codes();
        self.numbers.clone_from(&numbers.0);
    }
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
