//! Files of this machine, read on the thread that asks.
//!
//! The library hands each read to a thread of its own and fills the memory with zeros first. For a log, which most
//! often lies in the page cache, handing over takes longer than reading, and memory that one thread takes and another
//! gives back is cleared by the kernel again and again.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::StreamExt;
use futures::stream::BoxStream;

/// The local file system.
#[derive(Debug, Default)]
pub(super) struct InPlace(LocalFileSystem);

impl fmt::Display for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl InPlace {
    /// The file, and where it is.
    fn open(&self, location: &Path) -> Result<(File, PathBuf)> {
        let path = self.0.path_to_filesystem(location)?;
        match File::open(&path) {
            Ok(file) => Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotFound { path: path.display().to_string(), source: error.into() })
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }
}

fn failed(path: &FilePath) -> impl Fn(io::Error) -> Error {
    move |error| Error::Generic { store: "file", source: format!("`{}`: {error}", path.display()).into() }
}

fn read(file: &mut File, range: &Range<u64>) -> io::Result<Bytes> {
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(wanted);
    file.seek(SeekFrom::Start(range.start))?;
    file.take(wanted as u64).read_to_end(&mut bytes)?;
    match bytes.len() == wanted {
        true => Ok(bytes.into()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[async_trait]
impl ObjectStore for InPlace {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(GetRange::Bounded(range)) = options.range.clone() else {
            return self.0.get_opts(location, options).await;
        };
        let (mut file, path) = self.open(location)?;
        let metadata = file.metadata().map_err(failed(&path))?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: metadata.modified().map_err(failed(&path))?.into(),
            size: metadata.len(),
            e_tag: None,
            version: None,
        };
        options.check_preconditions(&meta)?;
        let bytes = read(&mut file, &range).map_err(failed(&path))?;
        let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (mut file, path) = self.open(location)?;
        ranges.iter().map(|range| read(&mut file, range).map_err(failed(&path))).collect()
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
