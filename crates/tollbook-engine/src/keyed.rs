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

use crate::same::same;

/// What an entry is looked up by: a number, and two texts of which either may be empty.
pub(crate) type KeyRef<'a> = (u32, &'a str, &'a str);

/// Names an entry for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Handle {
    #[n(0)]
    slot: u32,
    #[n(1)]
    generation: u32,
}

#[derive(Debug)]
pub(crate) struct Keyed<V> {
    hasher: SeedableRandomState,
    table: HashTable<u32>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
}

/// An entry, or the place of one that has gone. Small, because a million of them don't fit a cache: what
/// a look-up reads lies side by side, and a counter in one line of it.
#[derive(Debug, Encode, Decode)]
#[repr(align(64))]
struct Slot<V> {
    /// Odd while it holds an entry; goes up whenever it is filled or emptied.
    #[n(0)]
    generation: u32,
    #[n(1)]
    number: u32,
    #[n(2)]
    first: Box<str>,
    #[n(3)]
    second: Box<str>,
    #[n(4)]
    value: V,
}

impl<V> Slot<V> {
    #[inline]
    fn has(&self, key: KeyRef<'_>) -> bool {
        let first = self.first.len() == key.1.len() && (key.1.is_empty() || *self.first == *key.1);
        first && self.number == key.0 && self.second_is(key.2)
    }

    /// Not inlined, so that what is around it is, all the way up to the decision.
    #[inline(never)]
    fn second_is(&self, text: &str) -> bool {
        same(&self.second, text)
    }

    fn is_full(&self) -> bool {
        self.generation % 2 == 1
    }
}

impl<V: Default> Keyed<V> {
    /// `seed` shuffles the table, so that nobody can choose keys that collide. It changes no answer.
    pub fn new(seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        Self { hasher, table: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// Shuffles the table anew.
    pub fn reseed(&mut self, seed: u64) {
        self.hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        self.table = HashTable::with_capacity(self.slots.len());
        let (slots, hasher) = (&self.slots, &self.hasher);
        for (slot, held) in (0_u32..).zip(slots).filter(|(_, held)| held.is_full()) {
            let hash = hash_of(hasher, (held.number, &held.first, &held.second));
            self.table.insert_unique(hash, slot, |&slot| slot_hash(slots, hasher, slot));
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn find(&self, key: KeyRef<'_>) -> Option<Handle> {
        let slot = self.slot_of(key)?;
        Some(Handle { slot, generation: self.slot(slot)?.generation })
    }

    /// The value of a key, to be changed.
    pub fn find_mut(&mut self, key: KeyRef<'_>) -> Option<(Handle, &mut V)> {
        let slot = self.slot_of(key)?;
        let held = self.slots.get_mut(usize::try_from(slot).ok()?)?;
        Some((Handle { slot, generation: held.generation }, &mut held.value))
    }

    fn slot_of(&self, key: KeyRef<'_>) -> Option<u32> {
        let hash = hash_of(&self.hasher, key);
        self.table.find(hash, |&slot| self.slot(slot).is_some_and(|held| held.has(key))).copied()
    }

    pub fn get(&self, handle: Handle) -> Option<&V> {
        self.slot(handle.slot).filter(|slot| slot.generation == handle.generation).map(|slot| &slot.value)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let slot = self.slots.get_mut(usize::try_from(handle.slot).ok()?)?;
        (slot.generation == handle.generation).then_some(&mut slot.value)
    }

    /// Adds a key that isn't there. None once 2^32 entries are held.
    #[inline(never)]
    pub fn insert(&mut self, key: KeyRef<'_>, value: V) -> Option<Handle> {
        let filled = Slot { generation: 1, number: key.0, first: key.1.into(), second: key.2.into(), value };
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
        self.table.insert_unique(hash_of(hasher, key), slot, |&slot| slot_hash(slots, hasher, slot));
        Some(Handle { slot, generation })
    }

    pub fn remove(&mut self, handle: Handle) {
        let Some(slot) = usize::try_from(handle.slot).ok().and_then(|index| self.slots.get_mut(index)) else { return };
        if slot.generation != handle.generation || !slot.is_full() {
            return;
        }
        let hash = hash_of(&self.hasher, (slot.number, &slot.first, &slot.second));
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            number: 0,
            first: Box::default(),
            second: Box::default(),
            value: V::default(),
        };
        if let Ok(found) = self.table.find_entry(hash, |&held| held == handle.slot) {
            found.remove();
        }
        self.free.push(handle.slot);
    }

    /// Visits every entry, in the order of their slots.
    pub fn each_key(&self) -> impl Iterator<Item = (KeyRef<'_>, &V)> {
        let full = self.slots.iter().filter(|slot| slot.is_full());
        full.map(|slot| ((slot.number, &*slot.first, &*slot.second), &slot.value))
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
            let gone = slot.is_full() && !keep((slot.number, &slot.first, &slot.second), &mut slot.value);
            if let (true, Ok(slot)) = (gone, u32::try_from(index)) {
                self.remove(Handle { slot, generation });
            }
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot<V>> {
        self.slots.get(usize::try_from(slot).ok()?)
    }
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

#[inline(always)]
fn hash_of(hasher: &SeedableRandomState, key: KeyRef<'_>) -> u64 {
    let mut hasher = hasher.build_hasher();
    // Most keys have one text. Where the first of two ends is hashed too, so that no two keys are written alike.
    if !key.1.is_empty() {
        hasher.write(key.1.as_bytes());
        hasher.write_usize(key.1.len());
    }
    hasher.write(key.2.as_bytes());
    // Nobody outside chooses the number, so it is enough that it sets keys of the same texts apart.
    hasher.finish() ^ u64::from(key.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn slot_hash<V>(slots: &[Slot<V>], hasher: &SeedableRandomState, slot: u32) -> u64 {
    let held = usize::try_from(slot).ok().and_then(|index| slots.get(index));
    held.map_or(0, |held| hash_of(hasher, (held.number, &held.first, &held.second)))
}
