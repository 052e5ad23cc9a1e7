//! A disk that fails in the tests: below a directory, some of the steps that change something are refused, as if
//! the disk were broken for a moment, or the process had been killed just before them.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static PLANS: Mutex<Vec<Arc<Plan>>> = Mutex::new(Vec::new());

/// Which steps fail below a directory.
pub struct Plan {
    dir: PathBuf,
    fails: Range<u64>,
    steps: AtomicU64,
}

impl Plan {
    /// From now on, until it is dropped.
    pub fn begin(dir: &Path, fails: Range<u64>) -> Planned {
        let plan = Arc::new(Self { dir: dir.to_owned(), fails, steps: AtomicU64::new(0) });
        PLANS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&plan));
        Planned(plan)
    }
}

/// A plan that is in force.
pub struct Planned(Arc<Plan>);

impl Planned {
    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        PLANS.lock().unwrap_or_else(PoisonError::into_inner).retain(|plan| !Arc::ptr_eq(plan, &self.0));
    }
}

/// A step on a path.
pub fn step(path: &Path) -> io::Result<()> {
    let plan = {
        let plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        plans.iter().find(|plan| path.starts_with(&plan.dir)).cloned()
    };
    let Some(plan) = plan else { return Ok(()) };
    let step = plan.steps.fetch_add(1, Ordering::SeqCst);
    if plan.fails.contains(&step) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
}
