//! Sealing: records become Parquet that any tool reads.
//!
//! ```text
//! calls/date=2026-11-23/<instance>-<first>-<last>.parquet
//! outcomes/<instance>-<first>-<last>.parquet
//! events/<instance>-<first>-<last>.parquet
//! ```
//!
//! The order of the steps is the whole of the safety. The files are written aside, synced and
//! renamed; then the manifest names them; only then may the segment go. A crash before the manifest
//! leaves files that nobody counts, and sealing again writes them anew under the same names; one
//! after it leaves a segment whose records are all sealed, and sealing again finds nothing to do.
//!
//! The records of one segment are in memory while it is sealed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::disk::{self, Aside, DiskError};
use crate::key::Signer;
use crate::layout::{self, Layout};
use crate::manifest::{self, Manifest, ManifestError, SealedFile, SealedRange};
use crate::rows::RowsError;
use crate::schema::{self, Kind};
use crate::segment::{self, SegmentEnd};
use crate::tree::Tree;

/// Most rows of one row group.
const ROW_GROUP_ROWS_MAX: usize = 1_000_000;
const ZSTD_LEVEL: i32 = 3;
/// Level for hashes.
const HASH_ZSTD_LEVEL: i32 = 1;
/// Batches that are made before they are written.
const BATCHES_AHEAD: usize = 2;

/// Why records couldn't be sealed. They stay where they were.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The manifest couldn't be read or switched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A segment isn't as it was written. It stays where it is.
    #[error("cannot read the segment `{}`: {what}", path.display())]
    Segment {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A record can't be made a row.
    #[error("cannot make rows of the records of `{instance}`")]
    Rows {
        /// The process that recorded them.
        instance: String,
        /// Why.
        #[source]
        source: RowsError,
    },
    /// Parquet couldn't be written.
    #[error("cannot write `{path}`")]
    Parquet {
        /// Path within the log directory.
        path: String,
        /// Why.
        #[source]
        source: ParquetError,
    },
}

/// Seals those of an instance's records that aren't sealed yet, and says how many that were.
/// `records` begin at `first_seq` and have no gaps.
pub(crate) fn seal(
    log: &Path,
    instance: &str,
    first_seq: u64,
    records: &[&[u8]],
    signer: Option<&Signer>,
) -> Result<u64, SealError> {
    let before = Manifest::load(log, instance)?.map_or(0, |manifest| manifest.next_seq());
    let sealed = usize::try_from(before.saturating_sub(first_seq)).unwrap_or(usize::MAX);
    let records = records.get(sealed..).unwrap_or_default();
    let first_seq = first_seq.saturating_add(sealed as u64);
    let Some(range) = write_range(log, instance, first_seq, records)? else { return Ok(0) };
    // Read anew: compaction may have switched it meanwhile. Only this process adds to it.
    let _switching = manifest::lock(log)?;
    let mut manifest = Manifest::load(log, instance)?.unwrap_or_else(|| Manifest::new(instance));
    let heir = manifest.heir(signer);
    manifest.ranges.push(range);
    manifest.store(log, heir)?;
    Ok(records.len() as u64)
}

/// Seals a segment that was written to its end, and deletes it.
pub(crate) fn seal_segment(log: &Path, path: &Path, signer: Option<&Signer>) -> Result<u64, SealError> {
    let bytes = fs::read(path).map_err(DiskError::at("read", path))?;
    let wrong = |what: String| SealError::Segment { path: path.to_owned(), what };
    let segment = segment::read(&bytes).map_err(|error| wrong(error.to_string()))?;
    if let SegmentEnd::Torn { at, why } | SegmentEnd::Damaged { at, why, .. } = &segment.end {
        return Err(wrong(format!("{why} at byte {at}")));
    }
    let sealed = seal(log, &segment.instance, segment.first_seq, &segment.records, signer)?;
    disk::remove(path)?;
    Ok(sealed)
}

/// Writes the files of a range. They don't count until a manifest names them.
pub(crate) fn write_range(
    log: &Path,
    instance: &str,
    first_seq: u64,
    records: &[&[u8]],
) -> Result<Option<SealedRange>, SealError> {
    let rows_error = |source| SealError::Rows { instance: instance.to_owned(), source };
    let Some(last) = records.len().checked_sub(1) else { return Ok(None) };
    let last_seq = first_seq.saturating_add(last as u64);
    // Fixed width, so that names sort as the numbers do.
    let name = format!("{instance}-{first_seq:012}-{last_seq:012}.parquet");
    thread::scope(|scope| {
        let root = scope.spawn(|| Tree::of(records.iter().copied()).root());
        let layout = Layout::of(records.iter().copied()).map_err(rows_error)?;
        let mut files = Vec::new();
        for (day, calls) in &layout.calls {
            let day = day.map_or_else(|| "unknown".to_owned(), |day| day.to_string());
            let path = format!("calls/date={day}/{name}");
            let batches = layout::call_batches(instance, calls);
            files.push(write_file(log, instance, Kind::Calls, path, calls.len(), batches)?);
        }
        for (kind, records) in [(Kind::Outcomes, &layout.outcomes), (Kind::Events, &layout.events)] {
            if !records.is_empty() {
                let path = format!("{}/{name}", kind.name());
                let batches = layout::other_batches(kind, instance, records);
                files.push(write_file(log, instance, kind, path, records.len(), batches)?);
            }
        }
        let root = root.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Some(SealedRange { first_seq, last_seq, root: Some(disk::hex(&root)), files }))
    })
}

fn write_file(
    log: &Path,
    instance: &str,
    kind: Kind,
    path: String,
    rows: usize,
    batches: impl Iterator<Item = Result<RecordBatch, RowsError>> + Send,
) -> Result<SealedFile, SealError> {
    let parquet = |source| SealError::Parquet { path: path.clone(), source };
    let aside = Aside::create(&log.join(&path), instance)?;
    let mut writer = ArrowWriter::try_new(aside, kind.schema(), Some(properties(kind, rows))).map_err(parquet)?;
    let mut write = |batch: Result<RecordBatch, RowsError>| {
        let batch = batch.map_err(|source| SealError::Rows { instance: instance.to_owned(), source })?;
        writer.write(&batch).map_err(parquet)
    };
    if rows <= layout::BATCH_ROWS_MAX {
        batches.into_iter().try_for_each(write)?;
    } else {
        // One thread makes the rows while this one encodes and compresses them.
        thread::scope(|scope| {
            let (sender, made) = mpsc::sync_channel(BATCHES_AHEAD);
            scope.spawn(move || {
                for batch in batches {
                    // Nobody takes more once one couldn't be written.
                    if sender.send(batch).is_err() {
                        break;
                    }
                }
            });
            made.into_iter().try_for_each(&mut write)
        })?;
    }
    let aside = writer.into_inner().map_err(parquet)?;
    let (bytes, sha256) = aside.finish()?;
    Ok(SealedFile { kind, path, rows: rows as u64, bytes, sha256 })
}

/// Sorted, with statistics, page index and dictionaries (the writer's defaults), and a bloom filter
/// where one looks up single values.
pub(crate) fn properties(kind: Kind, rows: usize) -> WriterProperties {
    let schema = kind.schema();
    let distinct_max = rows.clamp(1, ROW_GROUP_ROWS_MAX) as u64;
    let mut properties = WriterProperties::builder()
        .set_compression(zstd(ZSTD_LEVEL))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_sorting_columns(sorted_by_seq(&schema));
    if kind == Kind::Calls {
        for column in [schema::calls::SESSION, schema::calls::TOOL, schema::calls::ARGS_HASH] {
            properties = properties.set_column_bloom_filter_max_ndv(ColumnPath::from(column.name), distinct_max);
        }
    }
    // Numbers that grow with each row: their differences are small, and a dictionary of them is no use.
    for column in [schema::calls::SEQ, schema::calls::TS, schema::calls::DONE_TS, schema::calls::DONE_SEQ] {
        if schema.column_with_name(column.name).is_some() {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(column.name), false)
                .set_column_encoding(ColumnPath::from(column.name), Encoding::DELTA_BINARY_PACKED);
        }
    }
    // Hashes hardly repeat, so a dictionary of them is no use either. With their lengths apart from their digits, and at
    // the level that looks for long matches alone, zstd finds nothing but that there are sixteen digits: smaller, and
    // read in half the time.
    for column in [schema::calls::ARGS_HASH, schema::calls::RESULT_HASH] {
        if schema.column_with_name(column.name).is_some() {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(column.name), false)
                .set_column_encoding(ColumnPath::from(column.name), Encoding::DELTA_LENGTH_BYTE_ARRAY)
                .set_column_compression(ColumnPath::from(column.name), zstd(HASH_ZSTD_LEVEL));
        }
    }
    properties.build()
}

fn zstd(level: i32) -> Compression {
    ZstdLevel::try_new(level).map_or(Compression::SNAPPY, Compression::ZSTD)
}

fn sorted_by_seq(schema: &SchemaRef) -> Option<Vec<SortingColumn>> {
    // The columns before `seq` aren't nested, so its place among them is its place among the leaves.
    let (at, _) = schema.column_with_name(schema::calls::SEQ.name)?;
    let column_idx = i32::try_from(at).ok()?;
    Some(vec![SortingColumn { column_idx, descending: false, nulls_first: false }])
}
