//! Files that are there whole or not at all.
//!
//! A file is written aside under a temporary name, synced and renamed, and its directory is synced:
//! whoever finds the name finds all of the bytes, after a crash too. Nothing else in this crate
//! renames or syncs by itself. [`SegmentFile`] is the seam at which tests make a write or a sync fail.

#[cfg(test)]
pub(crate) mod faults;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What a temporary file's name ends in.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A file system that refused something, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`", path.display())]
pub struct DiskError {
    /// What was tried.
    pub act: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { act, path, source }
    }
}

/// The open segment's file.
pub trait SegmentFile: Send + Sync {
    /// Hands the bytes to the operating system in one call.
    ///
    /// # Errors
    /// Where not all of them were taken. How many were isn't known then.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all that was appended is on stable storage.
    ///
    /// # Errors
    /// Where that isn't known. Some systems drop the pages that they failed to write, so a later
    /// success says nothing about earlier bytes.
    fn sync(&self) -> io::Result<()>;
}

impl SegmentFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        let taken = loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if taken == bytes.len() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::WriteZero, format!("{taken} of {} bytes were taken", bytes.len())))
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Stands before each step that changes something; the tests make it fail.
#[cfg(not(test))]
fn step(_: &Path) -> io::Result<()> {
    Ok(())
}
#[cfg(test)]
use faults::step;

/// Creates a new file that is appended to.
pub(crate) fn create_new(path: &Path) -> Result<File, DiskError> {
    step(path).map_err(DiskError::at("create", path))?;
    OpenOptions::new().create_new(true).append(true).open(path).map_err(DiskError::at("create", path))
}

/// Creates a directory and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(DiskError::at("create the directory", path))
}

/// Makes the directory's entries last.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    step(path).and_then(|()| File::open(path)?.sync_all()).map_err(DiskError::at("sync the directory", path))
}

/// Reads a file; none where there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::at("read", path)(error)),
    }
}

/// Reads a file that should be small.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    let read = read.and_then(|read| {
        let fits = read as u64 <= bytes_max;
        fits.then_some(()).ok_or_else(|| io::Error::other(format!("it has more than {bytes_max} bytes")))
    });
    read.map(|()| bytes).map_err(DiskError::at("read", path))
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&sum.finalize())),
            read => sum.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The names in a directory, sorted; none where there is no such directory. Names that aren't UTF-8
/// aren't ours and are passed over.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, DiskError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DiskError::at("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(DiskError::at("list", path))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Deletes a file.
pub(crate) fn delete(path: &Path) -> Result<(), DiskError> {
    step(path).and_then(|()| fs::remove_file(path)).map_err(DiskError::at("delete", path))
}

/// Deletes a file and makes that last.
pub(crate) fn remove(path: &Path) -> Result<(), DiskError> {
    delete(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Moves a file into a directory, under a name that is free there. Nothing is overwritten.
pub(crate) fn move_into(path: &Path, dir: &Path) -> Result<PathBuf, DiskError> {
    create_dir(dir)?;
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("unnamed");
    let taken = names(dir)?;
    let free = (0_u32..)
        .map(|n| if n == 0 { name.to_owned() } else { format!("{name}.{n}") })
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| name.to_owned());
    let to = dir.join(free);
    step(path).and_then(|()| fs::rename(path, &to)).map_err(DiskError::at("move aside", path))?;
    sync_dir(dir)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(to)
}

/// A file that is being written aside, as `<name>.<instance>.tmp`: the name tells who is writing it, so
/// that two processes don't meet and recovery knows whether the writer is still alive. Dropped
/// unfinished, it stays under that name, for recovery to find.
pub(crate) struct Aside {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    sum: Sha256,
    bytes: u64,
}

impl Aside {
    /// Begins a file that will be `target`. One that an earlier try left under the temporary name is
    /// begun anew.
    pub fn create(target: &Path, instance: &str) -> Result<Self, DiskError> {
        let mut temporary = target.as_os_str().to_owned();
        temporary.push(format!(".{instance}{TEMPORARY}"));
        let temporary = PathBuf::from(temporary);
        if let Some(parent) = target.parent() {
            create_dir(parent)?;
        }
        let file =
            step(&temporary).and_then(|()| File::create(&temporary)).map_err(DiskError::at("create", &temporary))?;
        Ok(Self { file, temporary, target: target.to_owned(), sum: Sha256::new(), bytes: 0 })
    }

    /// Syncs, renames and syncs the directory. Returns the size and the SHA-256 in hexadecimal.
    pub fn finish(self) -> Result<(u64, String), DiskError> {
        let path = &self.temporary;
        step(path).and_then(|()| self.file.sync_all()).map_err(DiskError::at("sync", path))?;
        step(path).and_then(|()| fs::rename(path, &self.target)).map_err(DiskError::at("rename", path))?;
        self.target.parent().map_or(Ok(()), sync_dir)?;
        Ok((self.bytes, hex(&self.sum.finalize())))
    }

    /// Gives up the file.
    pub fn discard(self) -> Result<(), DiskError> {
        remove(&self.temporary)
    }

    /// Where it is written for now.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Where it fails, half of it may be there.
        let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
        if let Err(error) = step(&self.temporary) {
            self.file.write_all(half)?;
            return Err(error);
        }
        let taken = self.file.write(bytes)?;
        self.sum.update(bytes.get(..taken).unwrap_or_default());
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file aside and switches it in.
pub(crate) fn write_whole(target: &Path, instance: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let mut aside = Aside::create(target, instance)?;
    aside.write_all(bytes).map_err(DiskError::at("write", aside.temporary()))?;
    aside.finish().map(|_| ())
}

/// The instance that writes, or wrote, a temporary file of this name; none for any other file.
pub(crate) fn writer_of(name: &str) -> Option<&str> {
    name.strip_suffix(TEMPORARY)?.rsplit_once('.').map(|(_, instance)| instance)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const_hex::encode(bytes)
}
