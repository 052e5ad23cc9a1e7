//! Calls that wait for a person.
//!
//! A held call gets an approval, found again by its fingerprint: server, grant, clause, tool and
//! canonical arguments. `within` bounds the time from the first hold to the answer, and again from an
//! approval to the pass. An approved call passes once.

use minicbor::{Decode, Encode};

use crate::canonical::hash128;
use crate::keyed::{Handle, Keyed};
use crate::record::Hash128;

#[derive(Debug, Encode, Decode)]
pub(crate) struct Approvals {
    #[n(0)]
    by_fingerprint: Keyed<Approval>,
    #[n(1)]
    by_id: Keyed<Handle>,
}

#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct Approval {
    #[n(0)]
    id: Box<str>,
    #[n(1)]
    answer: Answer,
    #[n(2)]
    within_us: i64,
    /// It is gone from this instant on.
    #[n(3)]
    expires_us: i64,
}

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Answer {
    #[default]
    #[n(0)]
    Open,
    #[n(1)]
    Approved,
    #[n(2)]
    Refused,
}

impl Approvals {
    pub fn new(seed: u64) -> Self {
        Self { by_fingerprint: Keyed::new(seed), by_id: Keyed::new(seed) }
    }

    /// Shuffles the tables anew.
    pub fn reseed(&mut self, seed: u64) {
        self.by_fingerprint.reseed(seed);
        self.by_id.reseed(seed);
    }

    /// What was said to a call of this fingerprint, and the approval's id.
    pub fn find(&self, fingerprint: Hash128, now_us: i64) -> Option<(Handle, Answer, &str)> {
        let handle = self.by_fingerprint.find((0, &fingerprint.to_string(), ""))?;
        let approval = self.by_fingerprint.get(handle).filter(|approval| now_us < approval.expires_us)?;
        Some((handle, approval.answer, &approval.id))
    }

    /// Opens an approval; None at the bound.
    pub fn open(&mut self, fingerprint: Hash128, seq: u64, within_us: i64, now_us: i64, max: u64) -> Option<String> {
        let full = |held: &Self| u64::try_from(held.by_fingerprint.len()).unwrap_or(u64::MAX) >= max;
        if full(self) {
            self.forget_expired(now_us);
        }
        let text = fingerprint.to_string();
        if let Some(expired) = self.by_fingerprint.find((0, &text, "")) {
            self.remove(expired);
        }
        if full(self) {
            return None;
        }
        let id = hash128(format!("{text} {seq}").as_bytes()).to_string().chars().take(10).collect::<String>();
        let expires_us = now_us.saturating_add(within_us);
        let approval = Approval { id: id.as_str().into(), answer: Answer::Open, within_us, expires_us };
        let handle = self.by_fingerprint.insert((0, &text, ""), approval)?;
        self.by_id.insert((0, &id, ""), handle)?;
        Some(id)
    }

    /// The approvals that wait for an answer: id, and when they are gone, sorted by id.
    pub fn waiting(&self, now_us: i64) -> Vec<(String, i64)> {
        let mut waiting = Vec::new();
        self.by_fingerprint.each(|approval| {
            if approval.answer == Answer::Open && now_us < approval.expires_us {
                waiting.push((approval.id.to_string(), approval.expires_us));
            }
        });
        waiting.sort();
        waiting
    }

    /// When an approval with this answer is gone.
    pub fn lasts_until(&self, id: &str, answer: Answer) -> Option<i64> {
        let handle = self.by_id.find((0, id, "")).and_then(|place| self.by_id.get(place)).copied()?;
        let approval = self.by_fingerprint.get(handle).filter(|approval| approval.answer == answer)?;
        Some(approval.expires_us)
    }

    /// Takes in what a person said. False where no such approval is open.
    pub fn answer(&mut self, id: &str, answer: Answer, now_us: i64) -> bool {
        let handle = self.by_id.find((0, id, "")).and_then(|place| self.by_id.get(place)).copied();
        let Some(approval) = handle.and_then(|handle| self.by_fingerprint.get_mut(handle)) else { return false };
        if approval.answer != Answer::Open || now_us >= approval.expires_us {
            return false;
        }
        approval.answer = answer;
        if answer == Answer::Approved {
            approval.expires_us = now_us.saturating_add(approval.within_us);
        }
        true
    }

    /// Spends an approval.
    pub fn remove(&mut self, handle: Handle) {
        let id = self.by_fingerprint.get(handle).map(|approval| approval.id.clone());
        if let Some(place) = id.and_then(|id| self.by_id.find((0, &id, ""))) {
            self.by_id.remove(place);
        }
        self.by_fingerprint.remove(handle);
    }

    fn forget_expired(&mut self, now_us: i64) {
        self.by_fingerprint.retain(|_, approval| now_us < approval.expires_us);
        let alive = &self.by_fingerprint;
        self.by_id.retain(|_, handle| alive.get(*handle).is_some());
    }
}
