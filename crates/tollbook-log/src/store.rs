//! Where a log is read from: any object store, the local file system among them.
//!
//! Writing, sealing and recovery never go this way: they need syncs, locks and renames, which object stores don't have.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{Error, GetResultPayload, ObjectStore, ObjectStoreExt};
use pollster::block_on;

use crate::disk::DiskError;

/// A log's directory in an object store.
#[derive(Debug, Clone)]
pub struct Store {
    store: Arc<dyn ObjectStore>,
    root: Place,
    shown: PathBuf,
}

impl Store {
    /// A directory in a store; `shown` is what errors call it, such as `s3://bucket/logs/one`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, root: Place, shown: impl Into<PathBuf>) -> Self {
        Self { store, root, shown: shown.into() }
    }

    /// A directory of this machine.
    ///
    /// # Errors
    /// Where its path can't be told from the root.
    pub fn local(dir: &Path) -> Result<Self, DiskError> {
        let root = std::path::absolute(dir)
            .and_then(|absolute| Place::from_absolute_path(absolute).map_err(io::Error::other))
            .map_err(DiskError::at("find", dir))?;
        Ok(Self::new(Arc::new(LocalFileSystem::new()), root, dir))
    }

    /// The store that holds it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where a file lies whose path within the log is this.
    #[must_use]
    pub fn place(&self, within: &str) -> Place {
        within.split('/').fold(self.root.clone(), |place, part| place.join(part))
    }

    /// What errors call the log.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// What a file holds; none where there is no such file.
    pub(crate) fn read(&self, within: &str) -> Result<Option<Bytes>, DiskError> {
        self.read_into(within, Vec::new())
    }

    /// The same in memory that was used before, since taking new memory for a large file takes as long as reading it.
    pub(crate) fn read_into(&self, within: &str, spare: Vec<u8>) -> Result<Option<Bytes>, DiskError> {
        let read = async {
            let found = self.store.get(&self.place(within)).await?;
            let bytes = found.meta.size;
            match found.payload {
                // The library would fill the memory with zeros first, which for large files takes as long again.
                GetResultPayload::File(file, path) => read_whole(file, bytes, spare).map_err(|source| Error::Generic {
                    store: "file",
                    source: DiskError::at("read", &path)(source).into(),
                }),
                GetResultPayload::Stream(_) => found.bytes().await,
            }
        };
        match block_on(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", within)(error)),
        }
    }

    /// The names of the files in a directory, sorted; none where there is no such directory.
    pub(crate) fn names(&self, within: &str) -> Result<Vec<String>, DiskError> {
        let listed = block_on(self.store.list_with_delimiter(Some(&self.place(within))));
        let listed = listed.map_err(self.failed("list", within))?;
        let named = |file: &object_store::ObjectMeta| file.location.filename().map(str::to_owned);
        let mut names: Vec<String> = listed.objects.iter().filter_map(named).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn failed(&self, act: &'static str, within: &str) -> impl FnOnce(Error) -> DiskError {
        let path = self.shown.join(within);
        move |error| DiskError::at(act, &path)(io::Error::other(error))
    }
}

fn read_whole(file: File, bytes: u64, mut spare: Vec<u8>) -> io::Result<Bytes> {
    spare.clear();
    let needed = usize::try_from(bytes).map_err(io::Error::other)?;
    if spare.capacity() < needed {
        // Some more, since files of a log are about as large; and not by growing, which would copy what isn't needed.
        spare = Vec::with_capacity(needed.saturating_add(needed / 8));
    }
    file.take(bytes).read_to_end(&mut spare)?;
    Ok(spare.into())
}
