//! A bounded map whose entries can be named by a small handle.
//!
//! Keys are looked up as they come, borrowed, so that a known key costs no allocation; a handle names an
//! entry later on (when a call settles) without its key, and stops naming it once the entry is gone.
//! Nothing here is ever visited in hash order where the order could show.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

/// What an entry is looked up by: a number, and two texts of which either may be empty.
pub(crate) type KeyRef<'a> = (u32, &'a str, &'a str);

/// Names an entry for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Handle {
    slot: u32,
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
/// a look-up reads lies side by side.
#[derive(Debug)]
struct Slot<V> {
    /// Odd while it holds an entry; goes up whenever it is filled or emptied.
    generation: u32,
    number: u32,
    first: Box<str>,
    second: Box<str>,
    value: V,
}

impl<V> Slot<V> {
    fn has(&self, key: KeyRef<'_>) -> bool {
        self.number == key.0 && *self.second == *key.2 && *self.first == *key.1
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

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn find(&self, key: KeyRef<'_>) -> Option<Handle> {
        let hash = hash_of(&self.hasher, key);
        let slot = *self.table.find(hash, |&slot| self.slot(slot).is_some_and(|held| held.has(key)))?;
        Some(Handle { slot, generation: self.slot(slot)?.generation })
    }

    pub fn get(&self, handle: Handle) -> Option<&V> {
        self.slot(handle.slot).filter(|slot| slot.generation == handle.generation).map(|slot| &slot.value)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let slot = self.slots.get_mut(usize::try_from(handle.slot).ok()?)?;
        (slot.generation == handle.generation).then_some(&mut slot.value)
    }

    /// Adds a key that isn't there. None once 2^32 entries are held.
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
        self.table.insert_unique(hash_of(hasher, key), slot, |&slot| {
            let held = usize::try_from(slot).ok().and_then(|index| slots.get(index));
            held.map_or(0, |held| hash_of(hasher, (held.number, &held.first, &held.second)))
        });
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

    /// Removes the entries that `keep` turns down, in the order of their slots.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, &mut V) -> bool) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { break };
            let generation = slot.generation;
            let gone = slot.is_full() && !keep(slot.number, &mut slot.value);
            if let (true, Ok(slot)) = (gone, u32::try_from(index)) {
                self.remove(Handle { slot, generation });
            }
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot<V>> {
        self.slots.get(usize::try_from(slot).ok()?)
    }
}

fn hash_of(hasher: &SeedableRandomState, key: KeyRef<'_>) -> u64 {
    hasher.hash_one(key)
}
