//! Where a log is read from, as DataFusion has it: [`tollbook_log::Store`], known by a URL.
//!
//! DataFusion, `loops()` and the late outcomes all read through [`Store`], and the log's own reader through the store
//! within, so a log that lies elsewhere needs a store of its own and nothing more.

mod in_place;

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::parquet::{DefaultParquetFileReaderFactory, ParquetFileReaderFactory};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use sha2::{Digest, Sha256};
use tollbook_log::DiskError;

use crate::source::Sealed;
use in_place::InPlace;

/// Bytes at a file's end that are read at once: most footers fit.
pub(crate) const FOOTER_BYTES: usize = 64 << 10;

/// A place that holds the files of one log.
#[derive(Debug, Clone)]
pub struct Store {
    log: tollbook_log::Store,
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
}

impl Store {
    /// A log in a store that is known by a URL such as `s3://bucket`.
    #[must_use]
    pub fn new(log: tollbook_log::Store, url: ObjectStoreUrl) -> Self {
        Self { store: Arc::clone(log.store()), log, url }
    }

    /// A directory of this machine.
    ///
    /// # Errors
    /// Where its path can't be told from the root.
    pub fn local(dir: &FilePath) -> std::result::Result<Self, DiskError> {
        let log = tollbook_log::Store::local(dir)?;
        Ok(Self { log, url: ObjectStoreUrl::local_filesystem(), store: Arc::new(InPlace::default()) })
    }

    /// The log, as its own reader has it.
    #[must_use]
    pub fn log(&self) -> &tollbook_log::Store {
        &self.log
    }

    pub(crate) fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where a file lies whose path within the log is this.
    pub(crate) fn path(&self, within: &str) -> Path {
        self.log.place(within)
    }

    /// Begins to read a sealed file.
    pub(crate) async fn parquet(&self, file: &Sealed) -> Result<ParquetRecordBatchStreamBuilder<Bytes>> {
        let builder = ParquetRecordBatchStreamBuilder::new(self.bytes(file)?).await;
        builder.map_err(|error| DataFusionError::ParquetError(Box::new(error)))
    }

    /// Begins to read a sealed file, whose columns are to have other types.
    pub(crate) async fn parquet_with(
        &self,
        file: &Sealed,
        types: impl FnOnce(&Schema) -> Schema,
    ) -> Result<ParquetRecordBatchStreamBuilder<Bytes>> {
        let builder = self.parquet(file).await?;
        let options = ArrowReaderOptions::new().with_schema(Arc::new(types(builder.schema())));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(builder.metadata()), options);
        let metadata = metadata.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
        Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(self.bytes(file)?, metadata))
    }

    fn bytes(&self, file: &Sealed) -> Result<Bytes> {
        let footer = usize::try_from(file.bytes).unwrap_or(FOOTER_BYTES).min(FOOTER_BYTES);
        let factory = DefaultParquetFileReaderFactory::new(Arc::clone(self.store()));
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Bytes(factory.create_reader(0, file.partitioned(), Some(footer), &metrics)?))
    }

    /// What is wrong with a sealed file; None where nothing is. It is read to its end.
    pub(crate) async fn wrong(&self, file: &Sealed) -> Option<String> {
        match self.sha256(file).await {
            Ok((bytes, _)) if bytes != file.bytes => Some(format!("it has {bytes} bytes instead of {}", file.bytes)),
            Ok((_, sum)) if sum == file.sha256 => None,
            Ok(_) => Some("its SHA-256 isn't the manifest's".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    async fn sha256(&self, file: &Sealed) -> datafusion::object_store::Result<(u64, String)> {
        let mut stream = self.store().get(&file.path).await?.into_stream();
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        while let Some(part) = stream.try_next().await? {
            bytes += part.len() as u64;
            hasher.update(&part);
        }
        Ok((bytes, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

/// The bytes of a file, as DataFusion reads them.
pub(crate) struct Bytes(Box<dyn AsyncFileReader + Send>);

impl AsyncFileReader for Bytes {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<bytes::Bytes, ParquetError>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<bytes::Bytes>, ParquetError>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        self.0.get_metadata(options)
    }
}
