//! A log that a session looks at, as it stood when the session began.

use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::object_store::path::Path;
use tollbook_log::schema::{Cell, Kind, calls};
use tollbook_log::{Manifest, Reader};

use crate::late::Late;
use crate::store::Store;

/// The files and open rows of one log.
#[derive(Debug)]
pub struct LogSource {
    /// The directory, as it was named.
    pub name: String,
    /// Where the files are.
    pub store: Store,
    /// Sealed files of all tables, in order of instance and sequence.
    pub files: Vec<Sealed>,
    /// Rows that aren't sealed.
    pub open: Vec<(Kind, RecordBatch)>,
    late: OnceLock<Late>,
}

/// A sealed file, and what its manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The table whose rows it holds.
    pub kind: Kind,
    /// The process that recorded them, all of them.
    pub instance: Arc<str>,
    /// The least sequence number that a row can have.
    pub first_seq: i64,
    /// The greatest.
    pub last_seq: i64,
    /// The UTC day of all its calls, as that day's first microsecond since 1970.
    pub day_us: Option<i64>,
    /// Whether the calls of a later day come later; in imports they needn't.
    pub days_in_order: bool,
    /// Where it is in the store.
    pub path: Path,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

impl LogSource {
    /// A log of these files and open rows.
    pub fn new(name: String, store: Store, files: Vec<Sealed>, open: Vec<(Kind, RecordBatch)>) -> Self {
        Self { name, store, files, open, late: OnceLock::new() }
    }

    /// Sealed files of a table.
    pub fn files(&self, kind: Kind) -> impl Iterator<Item = &Sealed> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// Rows of a table that aren't sealed.
    pub fn open(&self, kind: Kind) -> Vec<RecordBatch> {
        self.open.iter().filter(|rows| rows.0 == kind).map(|rows| rows.1.clone()).collect()
    }

    /// The files of calls, those of one range together: there is one for each day, and days overlap in imports.
    pub fn ranges(&self) -> Vec<Vec<Sealed>> {
        let calls: Vec<Sealed> = self.files(Kind::Calls).cloned().collect();
        let one = |a: &Sealed, b: &Sealed| a.instance == b.instance && a.first_seq == b.first_seq;
        calls.chunk_by(one).map(<[Sealed]>::to_vec).collect()
    }

    /// The outcomes that aren't in their call's row, as [`Self::read_late`] read them.
    pub fn late(&self) -> Result<&Late> {
        self.late.get().ok_or_else(|| DataFusionError::Internal("late outcomes weren't read".to_owned()))
    }

    /// Reads the outcomes that aren't in their call's row, unless somebody did.
    pub async fn read_late(&self) -> Result<&Late> {
        if self.late.get().is_none() {
            // Whoever else read them meanwhile has read the same.
            let _ = self.late.set(Late::read(self).await?);
        }
        self.late()
    }

    /// Whether an outcome can have come after its call was sealed.
    pub fn can_be_late(&self) -> bool {
        self.files.iter().any(|file| file.kind == Kind::Outcomes)
            || self.open.iter().any(|rows| rows.0 == Kind::Outcomes)
    }

    /// The one instance whose calls all of them are, if there is one.
    pub fn only_instance(&self) -> Option<Arc<str>> {
        let mut sealed = self.files(Kind::Calls);
        let first = Arc::clone(&sealed.next()?.instance);
        let is_open = self.open.iter().any(|rows| rows.0 == Kind::Calls && rows.1.num_rows() > 0);
        (!is_open && sealed.all(|file| file.instance == first)).then_some(first)
    }
}

/// The columns of a table as queries see them. Texts are views, which are compared by their first bytes and not
/// copied from where they were read.
pub fn seen(kind: Kind) -> SchemaRef {
    let schema = kind.schema();
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Rows with the columns that queries see; one that they lack is null.
pub fn as_seen(rows: &RecordBatch, kind: Kind) -> Result<RecordBatch> {
    let schema = seen(kind);
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => Ok(cast(column, field.data_type())?),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The files that a log's manifests name.
pub fn sealed(reader: &Reader, store: &Store) -> Vec<Sealed> {
    reader.manifests().flat_map(|manifest| of_manifest(manifest, store)).collect()
}

fn of_manifest(manifest: &Manifest, store: &Store) -> Vec<Sealed> {
    let instance: Arc<str> = manifest.instance.as_str().into();
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let files = manifest.ranges.iter().flat_map(|range| range.files.iter().map(move |file| (range, file)));
    files
        .map(|(range, file)| Sealed {
            kind: file.kind,
            instance: Arc::clone(&instance),
            first_seq: number(range.first_seq),
            last_seq: number(range.last_seq),
            day_us: day_us(&file.path),
            days_in_order: manifest.imported.is_none(),
            path: store.path(&file.path),
            bytes: file.bytes,
            rows: file.rows,
            sha256: file.sha256.clone(),
        })
        .collect()
}

/// The day that a path names, as `calls/date=2026-11-23/….parquet` does.
fn day_us(path: &str) -> Option<i64> {
    let day = path.split('/').find_map(|part| part.strip_prefix("date="))?;
    let ScalarValue::Date32(Some(days)) = ScalarValue::from(day).cast_to(&DataType::Date32).ok()? else { return None };
    Some(i64::from(days).saturating_mul(DAY_US))
}

const DAY_US: i64 = 86_400_000_000;

impl Sealed {
    /// The file as DataFusion reads it: with bounds that it need not be opened for.
    pub fn partitioned(&self) -> PartitionedFile {
        let mut file = PartitionedFile::new("", self.bytes);
        file.object_meta.location = self.path.clone();
        file.statistics = Some(Arc::new(self.statistics()));
        file
    }

    /// What the manifest knows of the file's columns. The bounds of `seq` and `ts` are none that a row need have.
    pub fn statistics(&self) -> Statistics {
        let column = |column: &tollbook_log::schema::Column| {
            let bounds = |from: ScalarValue, to: ScalarValue| ColumnStatistics {
                min_value: Precision::Exact(from),
                max_value: Precision::Exact(to),
                ..ColumnStatistics::new_unknown()
            };
            let instance = || ScalarValue::Utf8View(Some(self.instance.to_string()));
            let time = |us| ScalarValue::TimestampMicrosecond(Some(us), Some(tollbook_log::schema::ZONE.into()));
            match (column.name, self.day_us) {
                (name, _) if name == calls::INSTANCE.name => {
                    ColumnStatistics { null_count: Precision::Exact(0), ..bounds(instance(), instance()) }
                }
                (name, _) if name == calls::SEQ.name => {
                    // One apart at least: equal ones would be taken for the value of every row.
                    let last = self.last_seq.max(self.first_seq.saturating_add(1));
                    bounds(ScalarValue::from(self.first_seq), ScalarValue::from(last))
                }
                (name, Some(day)) if name == calls::TS.name && column.cell == Cell::Time => {
                    bounds(time(day), time(day.saturating_add(DAY_US - 1)))
                }
                _ => ColumnStatistics::new_unknown(),
            }
        };
        Statistics {
            num_rows: Precision::Exact(usize::try_from(self.rows).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Absent,
            column_statistics: self.kind.columns().iter().map(column).collect(),
        }
    }
}
