//! A bounded map whose entries can be named by a small handle.
//!
//! Keys are looked up as they come, borrowed, so that a known key costs no allocation; a handle names an
//! entry later on (when a call settles) without its key, and stops naming it once the entry is gone.
//! Nothing here is ever visited in hash order where the order could show.

use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use minicbor::{Decode, Decoder, Encode, Encoder};

use texts::Texts;
use tollbook_policy::same::Ends;

use crate::codes::{Code, Coded};

mod texts;

/// What an entry is looked up by: a number, and two texts of which either may be empty.
pub(crate) type KeyRef<'a> = (u32, &'a str, &'a str);

/// Names an entry for as long as it lives: its slot, and the slot's generation above. One word, because a handle is
/// handed on just after it was made, and two halves that were written apart are slow to read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Handle(u64);

impl Handle {
    #[inline]
    fn new(slot: u32, generation: u32) -> Self {
        Self((u64::from(generation) << 32) | u64::from(slot))
    }

    #[inline]
    fn slot(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    #[inline]
    fn generation(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }
}

/// A handle as a snapshot has it.
#[derive(Encode, Decode)]
struct WrittenHandle {
    #[n(0)]
    slot: u32,
    #[n(1)]
    generation: u32,
}

impl<C> Encode<C> for Handle {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        WrittenHandle { slot: self.slot(), generation: self.generation() }.encode(to, context)
    }
}

impl<'b, C> Decode<'b, C> for Handle {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let WrittenHandle { slot, generation } = WrittenHandle::decode(from, context)?;
        Ok(Self::new(slot, generation))
    }
}

#[derive(Debug)]
pub(crate) struct Keyed<V> {
    hasher: SeedableRandomState,
    table: HashTable<u32>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    /// Slots that were found lately, each at a place that its key tells: most calls are of few sessions, and comparing
    /// two keys is half of a search. What stands here changes no answer.
    recent: Box<[u32]>,
    /// By list, which entries have gone by which number in the file that a log is read from. Those that have gone since
    /// are told by their generation. It changes no answer either.
    coded: Vec<Coded<Handle>>,
}

/// A number of a key's, in one of several lists: the same number in the same list is the same key.
pub(crate) type ListedCode = (u32, Option<Code>);

/// A key that nobody has numbered.
pub(crate) const UNCODED: ListedCode = (0, None);

/// Lists that aren't among the first so many aren't kept.
const LISTS_MAX: usize = 256;

/// How many slots that were found lately are kept at hand.
const RECENT: usize = 256;

/// An entry, or the place of one that has gone. Small, because a million of them don't fit a cache: what
/// a look-up reads lies side by side, and a counter in one line of it.
#[derive(Debug)]
#[repr(align(64))]
struct Slot<V> {
    /// Odd while it holds an entry; goes up whenever it is filled or emptied.
    generation: u32,
    number: u32,
    texts: Texts,
    value: V,
}

impl<V> Slot<V> {
    #[inline]
    fn has(&self, key: KeyRef<'_>) -> bool {
        self.number == key.0 && self.texts.are(key.1, key.2)
    }

    fn key(&self) -> KeyRef<'_> {
        let (first, second) = self.texts.texts();
        (self.number, first, second)
    }

    fn hash(&self, hasher: &SeedableRandomState) -> u64 {
        hash_of(hasher, self.number, self.texts.bytes())
    }

    fn is_full(&self) -> bool {
        self.generation % 2 == 1
    }
}

impl<V: Default> Keyed<V> {
    /// `seed` shuffles the table, so that nobody can choose keys that collide. It changes no answer.
    pub fn new(seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        let recent = vec![u32::MAX; RECENT].into();
        Self { hasher, table: HashTable::new(), slots: Vec::new(), free: Vec::new(), recent, coded: Vec::new() }
    }

    /// Shuffles the table anew.
    pub fn reseed(&mut self, seed: u64) {
        self.hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        self.table = HashTable::with_capacity(self.slots.len());
        let (slots, hasher) = (&self.slots, &self.hasher);
        for (slot, held) in (0_u32..).zip(slots).filter(|(_, held)| held.is_full()) {
            self.table.insert_unique(held.hash(hasher), slot, |&slot| slot_hash(slots, hasher, slot));
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn find(&self, key: KeyRef<'_>) -> Option<Handle> {
        let slot = self.slot_of(key)?;
        Some(Handle::new(slot, self.slot(slot)?.generation))
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn find_mut(&mut self, key: KeyRef<'_>, code: ListedCode) -> Option<(Handle, &mut V)> {
        let handle = match self.coded(code) {
            Some(handle) => handle,
            None => self.find_by_key(key, code)?,
        };
        let held = self.slots.get_mut(usize::try_from(handle.slot()).ok()?)?;
        Some((handle, &mut held.value))
    }

    /// The entry that went by this number, if it is still there.
    #[inline]
    fn coded(&self, (list, code): ListedCode) -> Option<Handle> {
        let handle = self.coded.get(usize::try_from(list).ok()?)?.get(code?);
        let held = self.slot(handle.slot())?;
        (held.is_full() && held.generation == handle.generation()).then_some(handle)
    }

    #[inline(never)]
    fn find_by_key(&mut self, key: KeyRef<'_>, code: ListedCode) -> Option<Handle> {
        let place = place(key);
        let slot = match self.recent.get(place) {
            Some(&slot) if self.slot(slot).is_some_and(|held| held.is_full() && held.has(key)) => slot,
            _ => self.search(key, place)?,
        };
        let handle = Handle::new(slot, self.slot(slot)?.generation);
        if let (list, Some(code)) = code {
            self.keep(list, code, handle);
        }
        Some(handle)
    }

    fn keep(&mut self, list: u32, code: Code, handle: Handle) {
        let Some(list) = usize::try_from(list).ok().filter(|list| *list < LISTS_MAX) else { return };
        if list >= self.coded.len() {
            self.coded.resize_with(list + 1, || Coded::new(Handle::default()));
        }
        if let Some(coded) = self.coded.get_mut(list) {
            coded.keep(code, handle);
        }
    }

    #[inline(never)]
    fn search(&mut self, key: KeyRef<'_>, place: usize) -> Option<u32> {
        let slot = self.slot_of(key)?;
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = slot;
        }
        Some(slot)
    }

    fn slot_of(&self, key: KeyRef<'_>) -> Option<u32> {
        let hash = hash_of(&self.hasher, key.0, (key.1.as_bytes(), key.2.as_bytes()));
        self.table.find(hash, |&slot| self.slot(slot).is_some_and(|held| held.has(key))).copied()
    }

    pub fn get(&self, handle: Handle) -> Option<&V> {
        self.slot(handle.slot()).filter(|slot| slot.generation == handle.generation()).map(|slot| &slot.value)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let slot = self.slots.get_mut(usize::try_from(handle.slot()).ok()?)?;
        (slot.generation == handle.generation()).then_some(&mut slot.value)
    }

    /// Adds a key that isn't there. None once 2^32 entries are held.
    #[inline(never)]
    pub fn insert(&mut self, key: KeyRef<'_>, value: V) -> Option<Handle> {
        let filled = Slot { generation: 1, number: key.0, texts: Texts::new(key.1, key.2), value };
        let hash = filled.hash(&self.hasher);
        let (slot, generation) = match self.free.pop() {
            Some(slot) => {
                let place = self.slots.get_mut(usize::try_from(slot).ok()?)?;
                let generation = place.generation.wrapping_add(1);
                *place = Slot { generation, ..filled };
                (slot, generation)
            }
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(filled);
                (slot, 1)
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, slot, |&slot| slot_hash(slots, hasher, slot));
        Some(Handle::new(slot, generation))
    }

    pub fn remove(&mut self, handle: Handle) {
        let Some(slot) = usize::try_from(handle.slot()).ok().and_then(|index| self.slots.get_mut(index)) else {
            return;
        };
        if slot.generation != handle.generation() || !slot.is_full() {
            return;
        }
        let hash = slot.hash(&self.hasher);
        let generation = slot.generation.wrapping_add(1);
        *slot = Slot { generation, number: 0, texts: Texts::default(), value: V::default() };
        if let Ok(found) = self.table.find_entry(hash, |&held| held == handle.slot()) {
            found.remove();
        }
        self.free.push(handle.slot());
    }

    /// Visits every entry, in the order of their slots.
    pub fn each_key(&self) -> impl Iterator<Item = (KeyRef<'_>, &V)> {
        let full = self.slots.iter().filter(|slot| slot.is_full());
        full.map(|slot| (slot.key(), &slot.value))
    }

    /// Visits every value.
    pub fn each(&self, mut visit: impl FnMut(&V)) {
        self.slots.iter().filter(|slot| slot.is_full()).for_each(|slot| visit(&slot.value));
    }

    /// Removes the entries that `keep` turns down, in the order of their slots.
    pub fn retain(&mut self, mut keep: impl FnMut(KeyRef<'_>, &mut V) -> bool) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { break };
            let generation = slot.generation;
            let Slot { number, texts, value, .. } = slot;
            let (first, second) = texts.texts();
            let gone = generation % 2 == 1 && !keep((*number, first, second), value);
            if let (true, Ok(slot)) = (gone, u32::try_from(index)) {
                self.remove(Handle::new(slot, generation));
            }
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot<V>> {
        self.slots.get(usize::try_from(slot).ok()?)
    }
}

/// A slot as a snapshot has it.
#[derive(Encode, Decode)]
struct Written<T, V> {
    #[n(0)]
    generation: u32,
    #[n(1)]
    number: u32,
    #[n(2)]
    first: T,
    #[n(3)]
    second: T,
    #[n(4)]
    value: V,
}

/// The slots as they stand, those that are free too, so that every handle goes on to name what it named.
impl<C, V: Encode<C>> Encode<C> for Keyed<V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        to.array(2)?;
        self.slots.encode(to, context)?;
        self.free.encode(to, context)
    }
}

impl<'b, C, V: Decode<'b, C> + Default> Decode<'b, C> for Keyed<V> {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        from.array()?;
        let slots: Vec<Slot<V>> = Vec::decode(from, context)?;
        let free = Vec::decode(from, context)?;
        let mut keyed = Self { slots, free, ..Self::new(0) };
        keyed.reseed(0);
        Ok(keyed)
    }
}

impl<C, V: Encode<C>> Encode<C> for Slot<V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let (number, first, second) = self.key();
        Written { generation: self.generation, number, first, second, value: &self.value }.encode(to, context)
    }
}

impl<'b, C, V: Decode<'b, C>> Decode<'b, C> for Slot<V> {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let Written::<&str, V> { generation, number, first, second, value } = Written::decode(from, context)?;
        Ok(Self { generation, number, texts: Texts::new(first, second), value })
    }
}

/// Where a key stands among those that were found lately. Whoever chooses keys that meet there makes others be
/// searched for, and no more.
#[inline]
fn place((number, first, second): KeyRef<'_>) -> usize {
    let first = if first.is_empty() { 0 } else { Ends::of(first.as_bytes()).hash() };
    let texts = first.rotate_left(8) ^ Ends::of(second.as_bytes()).hash();
    usize::try_from((texts ^ u64::from(number).wrapping_mul(0x9e37)) % RECENT as u64).unwrap_or(0)
}

#[inline(always)]
fn hash_of(hasher: &SeedableRandomState, number: u32, (first, second): (&[u8], &[u8])) -> u64 {
    let mut hasher = hasher.build_hasher();
    // Most keys have one text. Where the first of two ends is hashed too, so that no two keys are written alike.
    if !first.is_empty() {
        hasher.write(first);
        hasher.write_usize(first.len());
    }
    hasher.write(second);
    // Nobody outside chooses the number, so it is enough that it sets keys of the same texts apart.
    hasher.finish() ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn slot_hash<V>(slots: &[Slot<V>], hasher: &SeedableRandomState, slot: u32) -> u64 {
    let held = usize::try_from(slot).ok().and_then(|index| slots.get(index));
    held.map_or(0, |held| held.hash(hasher))
}

#[cfg(test)]
mod tests;
