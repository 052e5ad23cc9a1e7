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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[derive(Debug)]
struct Slot<V> {
    generation: u32,
    entry: Option<Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    key: (u32, Box<str>, Box<str>),
    value: V,
}

impl<V> Entry<V> {
    fn has(&self, key: KeyRef<'_>) -> bool {
        self.key.0 == key.0 && *self.key.1 == *key.1 && *self.key.2 == *key.2
    }
}

impl<V> Keyed<V> {
    /// `seed` shuffles the table, so that nobody can choose keys that collide. It changes no answer.
    pub fn new(seed: u64) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        Self { hasher, table: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn find(&self, key: KeyRef<'_>) -> Option<Handle> {
        let hash = self.hasher.hash_one(key);
        let slot = *self.table.find(hash, |&slot| self.entry(slot).is_some_and(|entry| entry.has(key)))?;
        Some(Handle { slot, generation: self.slots.get(usize::try_from(slot).ok()?)?.generation })
    }

    pub fn get(&self, handle: Handle) -> Option<&V> {
        let slot = self.slots.get(usize::try_from(handle.slot).ok()?)?;
        slot.entry.as_ref().filter(|_| slot.generation == handle.generation).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let slot = self.slots.get_mut(usize::try_from(handle.slot).ok()?)?;
        slot.entry.as_mut().filter(|_| slot.generation == handle.generation).map(|entry| &mut entry.value)
    }

    /// Adds a key that isn't there. None once 2^32 entries are held.
    pub fn insert(&mut self, key: KeyRef<'_>, value: V) -> Option<Handle> {
        let hash = self.hasher.hash_one(key);
        let entry = Entry { hash, key: (key.0, key.1.into(), key.2.into()), value };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, entry: None });
                slot
            }
        };
        let place = self.slots.get_mut(usize::try_from(slot).ok()?)?;
        place.entry = Some(entry);
        let generation = place.generation;
        let slots = &self.slots;
        self.table.insert_unique(hash, slot, |&slot| hash_of(slots, slot));
        Some(Handle { slot, generation })
    }

    pub fn remove(&mut self, handle: Handle) {
        if self.get(handle).is_none() {
            return;
        }
        let Some(slot) = usize::try_from(handle.slot).ok().and_then(|index| self.slots.get_mut(index)) else { return };
        let Some(entry) = slot.entry.take() else { return };
        slot.generation = slot.generation.wrapping_add(1);
        if let Ok(found) = self.table.find_entry(entry.hash, |&held| held == handle.slot) {
            found.remove();
        }
        self.free.push(handle.slot);
    }

    /// Removes the entries that `keep` turns down, in the order of their slots.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, &mut V) -> bool) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { break };
            let generation = slot.generation;
            let gone = slot.entry.as_mut().is_some_and(|entry| !keep(entry.key.0, &mut entry.value));
            if let (true, Ok(slot)) = (gone, u32::try_from(index)) {
                self.remove(Handle { slot, generation });
            }
        }
    }

    fn entry(&self, slot: u32) -> Option<&Entry<V>> {
        self.slots.get(usize::try_from(slot).ok()?)?.entry.as_ref()
    }
}

fn hash_of<V>(slots: &[Slot<V>], slot: u32) -> u64 {
    let entry = usize::try_from(slot).ok().and_then(|index| slots.get(index)).and_then(|slot| slot.entry.as_ref());
    entry.map_or(0, |entry| entry.hash)
}
