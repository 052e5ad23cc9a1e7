//! Sealed files that aren't as they were written.
//!
//! DataFusion's errors don't say which file they came from, and on some contents, which no writer makes, the
//! Parquet crate panics. So after a failure the files are looked at one by one: first whether each is as the
//! manifest says, then, because anybody can write a manifest, whether it can be decoded at all.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::session::QueryError;
use crate::source::{LogSource, Sealed};
use crate::store::Store;

/// Files that are read at once.
const AT_ONCE: usize = 4;

/// The damaged file behind an error of reading, if there is one.
pub async fn culprit(logs: &[Arc<LogSource>], error: &DataFusionError) -> Option<QueryError> {
    match error.find_root() {
        DataFusionError::Plan(_) | DataFusionError::ResourcesExhausted(_) => None,
        _ => unsound(logs).await,
    }
}

/// The first file that isn't as it was written, or can't be decoded.
pub async fn unsound(logs: &[Arc<LogSource>]) -> Option<QueryError> {
    for log in logs {
        for file in &log.files {
            let wrong = match log.store.wrong(file).await {
                Some(what) => Some(what),
                None => undecodable(&log.store, file).await,
            };
            if let Some(what) = wrong {
                return Some(QueryError::Damaged { path: path(file), what });
            }
        }
    }
    None
}

/// Takes damaged files out, and says what is wrong with each.
pub async fn leave_out(store: &Store, files: &mut Vec<Sealed>) -> Vec<(PathBuf, String)> {
    let looked = futures::stream::iter(std::mem::take(files)).map(|file| async {
        let wrong = match store.wrong(&file).await {
            Some(what) => Some(what),
            None => undecodable(store, &file).await,
        };
        (file, wrong)
    });
    let mut skipped = Vec::new();
    for (file, wrong) in looked.buffered(AT_ONCE).collect::<Vec<_>>().await {
        match wrong {
            Some(what) => skipped.push((path(&file), what)),
            None => files.push(file),
        }
    }
    skipped
}

/// Why a file can't be decoded; None where it can.
async fn undecodable(store: &Store, file: &Sealed) -> Option<String> {
    let read = async {
        let mut rows = store.parquet(file).await?.build().map_err(DataFusionError::from)?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows() as u64;
        }
        Ok::<_, DataFusionError>(count)
    };
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(Ok(rows)) if rows == file.rows => None,
        Ok(Ok(rows)) => Some(format!("it has {rows} rows instead of {}", file.rows)),
        Ok(Err(error)) => Some(error.strip_backtrace()),
        Err(_) => Some("it isn't sound Parquet".to_owned()),
    }
}

/// Where a file is, as a person reads it.
fn path(file: &Sealed) -> PathBuf {
    PathBuf::from(format!("/{}", file.path))
}
