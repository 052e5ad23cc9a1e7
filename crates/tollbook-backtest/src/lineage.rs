//! Which instance carries on what others have counted.
//!
//! An instance is replayed by itself, one after the other, in the order in which they began; what it has counted by
//! its end is kept only where another one will carry it on, and only until the last of these has begun.

use std::collections::BTreeMap;

use tollbook_engine::Carried;

/// For each instance that is carried on, the last one that does.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    heirs: BTreeMap<String, String>,
}

impl Lineage {
    /// From what was carried on in a log, each with the instance that did.
    pub fn of<'a>(carried: impl IntoIterator<Item = &'a (String, Carried)>) -> Self {
        let mut heirs: BTreeMap<String, String> = BTreeMap::new();
        for (heir, carried) in carried {
            for instance in &carried.from {
                let last = heirs.entry(instance.clone()).or_default();
                if heir > last {
                    last.clone_from(heir);
                }
            }
        }
        Self { heirs }
    }

    fn is_carried_on_from(&self, earlier: &str, instance: &str) -> bool {
        self.heirs.get(earlier).is_some_and(|heir| heir.as_str() >= instance)
    }
}

/// What the instances that were replayed have counted, as long as others are yet to carry it on.
#[derive(Debug)]
pub(crate) struct Left<T> {
    instance: String,
    left: BTreeMap<String, T>,
}

impl<T> Default for Left<T> {
    fn default() -> Self {
        Self { instance: String::new(), left: BTreeMap::new() }
    }
}

impl<T> Left<T> {
    /// An instance begins, and the one before it has ended with this.
    pub fn begin(&mut self, instance: &str, lineage: &Lineage, ended: T) {
        let ended_instance = std::mem::replace(&mut self.instance, instance.to_owned());
        self.left.insert(ended_instance, ended);
        self.left.retain(|earlier, _| lineage.is_carried_on_from(earlier, instance));
    }

    /// The instance that is replayed.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What each of these has left; none where one of them isn't in the log any more.
    pub fn all_of(&self, instances: &[String]) -> Option<Vec<&T>> {
        instances.iter().map(|instance| self.left.get(instance)).collect()
    }

    /// What those of these have left that are in the log.
    pub fn of<'a>(&'a self, instances: &'a [String]) -> impl Iterator<Item = &'a T> {
        instances.iter().filter_map(|instance| self.left.get(instance))
    }
}
