//! Calls whose results come later in the file, under the call's id.

use std::collections::BTreeMap;

use super::order::{Call, Done};

#[derive(Default)]
pub(super) struct Pairs {
    calls: Vec<Call>,
    /// Calls without a result as yet, by id.
    pending: BTreeMap<String, usize>,
}

impl Pairs {
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn begin(&mut self, id: Option<String>, call: Call) {
        if let Some(id) = id {
            self.pending.insert(id, self.calls.len());
        }
        self.calls.push(call);
    }

    /// The call that waits for a result under this id.
    pub fn end(&mut self, id: &str, done: impl FnOnce(&Call) -> Done) {
        if let Some(call) = self.pending.remove(id).and_then(|at| self.calls.get_mut(at)) {
            call.done = Some(done(call));
        }
    }

    /// From here on, no result can be told to be that call's.
    pub fn forget(&mut self, id: &str) {
        self.pending.remove(id);
    }

    pub fn forget_all(&mut self) {
        self.pending.clear();
    }

    pub fn into_calls(self) -> Vec<Call> {
        self.calls
    }
}
