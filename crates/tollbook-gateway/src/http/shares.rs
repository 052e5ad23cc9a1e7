//! Room that all grants share, and no grant alone.
//!
//! Whatever a stuck agent opens, the agents of other grants are to get in. So the last quarter of the room is for
//! grants that hold less than a quarter of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::desk::lock;

/// How much of something may be open, and how much of it each grant holds.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    all: usize,
    by_grant: BTreeMap<String, usize>,
}

impl Shares {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        Self { most, all: 0, by_grant: BTreeMap::new() }
    }

    /// Whether the grant may have one more.
    pub fn has_room(&self, grant: &str) -> bool {
        let quarter = self.most / 4;
        let held = self.by_grant.get(grant).copied().unwrap_or(0);
        self.all < self.most - quarter || (self.all < self.most && held < quarter)
    }

    /// The grant has one more.
    pub fn add(&mut self, grant: &str) {
        self.all += 1;
        match self.by_grant.get_mut(grant) {
            Some(held) => *held += 1,
            None => drop(self.by_grant.insert(grant.to_owned(), 1)),
        }
    }

    /// The grant has one less.
    pub fn remove(&mut self, grant: &str) {
        let Some(held) = self.by_grant.get_mut(grant) else { return };
        self.all = self.all.saturating_sub(1);
        *held -= 1;
        if *held == 0 {
            self.by_grant.remove(grant);
        }
    }
}

/// Room that a grant holds until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shares: Arc<Mutex<Shares>>,
    grant: String,
}

impl Permit {
    /// None where there is no room for the grant.
    pub fn of(shares: &Arc<Mutex<Shares>>, grant: &str) -> Option<Self> {
        let mut held = lock(shares);
        if !held.has_room(grant) {
            return None;
        }
        held.add(grant);
        Some(Self { shares: Arc::clone(shares), grant: grant.to_owned() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.shares).remove(&self.grant);
    }
}

#[cfg(test)]
mod tests;
