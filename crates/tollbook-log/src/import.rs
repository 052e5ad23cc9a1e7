//! Taking in the logs of others, so that history can be questioned without ever having run a gateway.
//!
//! An imported file becomes an instance of its own, named for the SHA-256 of its bytes and sealed at
//! once. Its manifest is switched in when everything else is written, and is itself the mark that the
//! file was taken in: a crash before leaves nothing that counts, and a second import of the same file
//! finds the manifest and adds nothing. `imports/<sha256>.json` says the same for people; it is
//! written afterwards, from the manifest.
//!
//! Nobody judged these calls, and nothing is made up about them: a time that the source lacks stays
//! unknown, and so do arguments. Times are the source's own, so that within an imported instance
//! they may go back; the rule that they don't is for live logs.
//!
//! The records are held in memory to be ordered, [`RECORDS_MAX`] of them at most.

mod claude_code;
mod cloudtrail;
mod format;
mod found;
mod intercept;
mod mcp;
mod order;
mod pairs;
mod trace;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tollbook_engine::{Body, Bounds, Event, Opened};
use tollbook_policy::json;

use self::format::Source;
use self::order::Ordered;
use crate::disk::{self, Aside, DiskError};
use crate::instance::{self, Claim};
use crate::key::Signer;
use crate::manifest::{Imported, Manifest, ManifestError};
use crate::seal::{self, SealError};
use crate::segment::FRAME_BYTES_MAX;
use crate::verify;

pub use self::format::Format;

/// Most records of one file.
pub const RECORDS_MAX: usize = 10_000_000;
/// Most bytes of one line. A longer one is rejected.
pub const LINE_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Rejected lines that a report names. All of them are in the side file.
pub const REJECTED_NAMED_MAX: usize = 5;

/// Directory of what is known of imports.
const DIR: &str = "imports";
/// How much of a file is looked at to tell its format.
const HEAD_BYTES: u64 = 1 << 20;
/// Bytes of lines that are read together; the last of them may be longer.
const BLOCK_BYTES: usize = 4 << 20;
/// Most bytes of a file that is one JSON document.
const DOCUMENT_BYTES_MAX: u64 = 512 << 20;

/// How a file is taken in.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The grant of all its calls.
    pub grant: String,
    /// How the file is read; told by its content where it isn't given.
    pub format: Option<Format>,
    /// Events in one sealed range.
    pub seal_events_max: usize,
    /// Signs the head and the manifest. Without it nothing is signed.
    pub signer: Option<Arc<Signer>>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { grant: "import".to_owned(), format: None, seal_events_max: 1_000_000, signer: None }
    }
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The name under which the calls are in the log.
    pub instance: String,
    /// What was taken in: now, or when the same file was imported before.
    pub imported: Imported,
    /// The same file was taken in before, and nothing was added.
    pub already: bool,
    /// The first few lines that couldn't be read.
    pub rejected: Vec<Rejected>,
    /// Where all such lines are kept.
    pub rejected_file: Option<PathBuf>,
}

/// A line that couldn't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// Why a file can't be taken in. Nothing of it is in the log then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file can't be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has no lines.
    #[error("`{}` holds no records", .0.display())]
    Empty(PathBuf),
    /// None of its lines is a record.
    #[error("`{}` holds no tool-call records: none of its {lines} lines is one; line {}: {}", path.display(), first.line, first.why)]
    NoRecords {
        /// The file.
        path: PathBuf,
        /// Its lines.
        lines: u64,
        /// The first of them.
        first: Rejected,
    },
    /// It has too many.
    #[error("`{}` holds more than {RECORDS_MAX} records; import it in parts", .0.display())]
    TooMany(PathBuf),
    /// It is one JSON document, and too large for memory.
    #[error("`{}` is one JSON document of more than {DOCUMENT_BYTES_MAX} bytes; import it in parts", .0.display())]
    TooLarge(PathBuf),
    /// Another process is at it.
    #[error("`{}` is being imported by another process", .0.display())]
    Busy(PathBuf),
    /// The log's file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The manifest couldn't be read or switched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The records couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Takes a file into the log in `log`, which is created where it isn't there. The file has one JSON
/// object a line, or is one of CloudTrail's documents, and may be gzipped.
///
/// # Errors
/// Where the file can't be read or the log can't be written. Lines that can't be read are no error, as
/// long as there are others.
pub fn import(log: &Path, path: &Path, options: &ImportOptions) -> Result<ImportReport, ImportError> {
    import_watched(log, path, options, &mut |_, _| {})
}

/// The same, telling meanwhile how many of the file's bytes were read, and how many it has.
///
/// # Errors
/// As with [`import`].
pub fn import_watched(
    log: &Path,
    path: &Path,
    options: &ImportOptions,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<ImportReport, ImportError> {
    let (file, bytes, sha256) = open_hashed(path).map_err(read_error(path))?;
    let name: String = sha256.chars().take(32).collect();
    let instance = format!("import-{name}");
    disk::create_dir(log)?;
    let opening = instance::lock_log(log)?;
    let Some(claim) = Claim::take(log, &instance)? else { return Err(ImportError::Busy(path.to_owned())) };
    drop(opening);
    let watched = Watched { file: file.take(bytes), bytes, watch };
    let taken = Import { log, path, options, instance, sha256 }.run(watched);
    claim.end()?;
    taken
}

fn read_error(path: &Path) -> impl Fn(io::Error) -> ImportError {
    move |source| ImportError::Read { path: path.to_owned(), source }
}

/// The file, its size, and the SHA-256 of that many bytes: it may be growing.
fn open_hashed(path: &Path) -> io::Result<(File, u64, String)> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let bytes = io::copy(&mut file, &mut HashWriter(&mut sum))?;
    file.rewind()?;
    Ok((file, bytes, disk::hex(&sum.finalize())))
}

/// A file of which somebody is told how far it is read.
struct Watched<'a> {
    file: io::Take<File>,
    bytes: u64,
    watch: &'a mut dyn FnMut(u64, u64),
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        (self.watch)(self.bytes - self.file.limit(), self.bytes);
        Ok(read)
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One import, its instance claimed.
struct Import<'a> {
    log: &'a Path,
    path: &'a Path,
    options: &'a ImportOptions,
    instance: String,
    sha256: String,
}

/// What the lines of a file gave.
struct Lines<'a> {
    format: Format,
    source: Source<'a>,
    rejected: Vec<Rejected>,
    rejected_count: u64,
    rejected_file: Option<Aside>,
}

/// Lines that are read together.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// The number of each line, and its length.
    lines: Vec<(u64, usize)>,
}

impl Block {
    fn push(&mut self, number: u64, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.lines.push((number, record.len()));
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lines.iter().map_while(move |(_, length)| {
            let (record, behind) = rest.split_at_checked(*length)?;
            rest = behind;
            Some(record)
        })
    }
}

impl Import<'_> {
    fn run(&self, file: impl Read) -> Result<ImportReport, ImportError> {
        if let Some(imported) = Manifest::load(self.log, &self.instance)?.and_then(|manifest| manifest.imported) {
            self.vouch()?;
            self.mark(&imported)?;
            let rejected_file = Some(self.rejected_path()).filter(|path| path.exists());
            let instance = self.instance.clone();
            return Ok(ImportReport { instance, imported, already: true, rejected: Vec::new(), rejected_file });
        }
        let mut lines = self.read(file)?;
        let rejected_file = lines.rejected_file.take();
        let format = lines.format;
        let mut calls = order::Calls::default();
        lines.source.into_calls().into_iter().for_each(|call| calls.push(call));
        if calls.is_empty() {
            if let Some(file) = rejected_file {
                file.discard()?;
            }
            return Err(match lines.rejected.into_iter().next() {
                Some(first) => {
                    ImportError::NoRecords { path: self.path.to_owned(), lines: lines.rejected_count, first }
                }
                None => ImportError::Empty(self.path.to_owned()),
            });
        }
        let rejected_file = match rejected_file {
            Some(file) => file.finish().map(|_| Some(self.rejected_path()))?,
            None => None,
        };
        let imported = self.seal(format, calls, lines.rejected_count)?;
        self.vouch()?;
        self.mark(&imported)?;
        let instance = self.instance.clone();
        Ok(ImportReport { instance, imported, already: false, rejected: lines.rejected, rejected_file })
    }

    fn read(&self, file: impl Read) -> Result<Lines<'_>, ImportError> {
        let mut file = BufReader::new(file);
        let is_gzip = file.fill_buf().map_err(read_error(self.path))?.starts_with(&[0x1f, 0x8b]);
        if is_gzip { self.read_text(BufReader::new(MultiGzDecoder::new(file))) } else { self.read_text(file) }
    }

    fn read_text(&self, mut text: impl BufRead) -> Result<Lines<'_>, ImportError> {
        let mut head = Vec::new();
        (&mut text).take(HEAD_BYTES).read_to_end(&mut head).map_err(read_error(self.path))?;
        let format = self.options.format.unwrap_or_else(|| Format::of(&head));
        let name: String = self.sha256.chars().take(8).collect();
        let source = Source::new(format, &self.options.grant, &name);
        let lines = Lines { format, source, rejected: Vec::new(), rejected_count: 0, rejected_file: None };
        let is_document = format == Format::CloudTrail && !is_line_of_its_own(&head);
        let text = Cursor::new(head).chain(text);
        if is_document { self.read_document(text, lines) } else { self.read_lines(text, lines) }
    }

    /// Reads `{"Records": […]}`.
    fn read_document<'l>(&self, text: impl BufRead, mut lines: Lines<'l>) -> Result<Lines<'l>, ImportError> {
        let mut document = Vec::new();
        text.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut document).map_err(read_error(self.path))?;
        if document.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(ImportError::TooLarge(self.path.to_owned()));
        }
        let root = match json::parse(&document) {
            Ok(root) => root,
            Err(error) => {
                self.keep(&mut lines, 1, &document, error.to_string())?;
                return Ok(lines);
            }
        };
        let Some(records) = root.get("Records").and_then(|records| records.elements()) else {
            self.keep(&mut lines, 1, &document, "it has no list of `Records`".to_owned())?;
            return Ok(lines);
        };
        for (record, number) in records.iter().zip(1..) {
            if let Err(why) = lines.source.read_node(record) {
                let text = document.get(record.span.clone()).unwrap_or_default();
                let line: Vec<u8> = text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
                self.keep(&mut lines, number, &line, why)?;
            }
        }
        if lines.source.len() > RECORDS_MAX {
            return Err(ImportError::TooMany(self.path.to_owned()));
        }
        Ok(lines)
    }

    fn read_lines<'l>(&self, mut text: impl BufRead, mut lines: Lines<'l>) -> Result<Lines<'l>, ImportError> {
        let mut line = Vec::new();
        let mut block = Block::default();
        for number in 1.. {
            line.clear();
            // One byte more than fits tells that a line is too long.
            let most = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut text).take(most).read_until(b'\n', &mut line).map_err(read_error(self.path))?;
            if read == 0 {
                break;
            }
            if line.len() > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                self.read_block(&mut block, &mut lines)?;
                let rest =
                    self.reject(&mut lines, number, &line, format!("it is longer than {LINE_BYTES_MAX} bytes"))?;
                copy_line(&mut text, rest).map_err(read_error(self.path))?;
                continue;
            }
            let record = line.trim_ascii();
            if record.is_empty() {
                continue;
            }
            block.push(number, record);
            if block.bytes.len() >= BLOCK_BYTES {
                self.read_block(&mut block, &mut lines)?;
            }
        }
        self.read_block(&mut block, &mut lines)?;
        Ok(lines)
    }

    /// Reads the lines of a block and empties it.
    fn read_block(&self, block: &mut Block, lines: &mut Lines<'_>) -> Result<(), ImportError> {
        let records: Vec<&[u8]> = block.records().collect();
        let read = lines.source.read_all(&records);
        for ((read, record), (number, _)) in read.into_iter().zip(records).zip(&block.lines) {
            if let Err(why) = read {
                self.keep(lines, *number, record, why)?;
            }
        }
        block.bytes.clear();
        block.lines.clear();
        if lines.source.len() > RECORDS_MAX {
            return Err(ImportError::TooMany(self.path.to_owned()));
        }
        Ok(())
    }

    /// Rejects a line that is whole.
    fn keep(&self, lines: &mut Lines<'_>, line: u64, text: &[u8], why: String) -> Result<(), DiskError> {
        let file = self.reject(lines, line, text, why)?;
        file.write_all(b"\n").map_err(|source| DiskError { act: "write", path: self.rejected_path(), source })
    }

    /// Counts a line, names it if it is one of the first, and keeps it.
    fn reject<'l>(
        &self,
        lines: &'l mut Lines<'_>,
        line: u64,
        text: &[u8],
        why: String,
    ) -> Result<&'l mut Aside, DiskError> {
        lines.rejected_count += 1;
        if lines.rejected.len() < REJECTED_NAMED_MAX {
            lines.rejected.push(Rejected { line, why });
        }
        let path = self.rejected_path();
        let file = match lines.rejected_file.take() {
            Some(file) => file,
            None => Aside::create(&path, &self.instance)?,
        };
        let file = lines.rejected_file.insert(file);
        file.write_all(text).map_err(DiskError::at("write", &path))?;
        Ok(file)
    }

    /// Writes the calls and their outcomes in order, and switches the manifest in.
    fn seal(&self, format: Format, calls: order::Calls, rejected: u64) -> Result<Imported, ImportError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut manifest = Manifest::new(&self.instance);
        let mut imported = Imported {
            sha256: self.sha256.clone(),
            format: format.word().to_owned(),
            name: name.clone(),
            grant: self.options.grant.clone(),
            calls: 0,
            calls_without_time: 0,
            outcomes: 0,
            sessions: calls.sessions() as u64,
            rejected,
        };
        let opened = Body::Opened(Opened {
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            bounds: Bounds::default(),
            imported_from: Some(format!("{} {name}", format.word())),
        });
        let mut records = vec![Event { seq: 0, ts_us: None, body: opened }.to_bytes()];
        let mut first_seq = 0;
        let mut flush = |records: &mut Vec<Vec<u8>>| -> Result<(), SealError> {
            let range: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            manifest.ranges.extend(seal::write_range(self.log, &self.instance, first_seq, &range)?);
            first_seq += records.len() as u64;
            records.clear();
            Ok(())
        };
        for ordered in calls.into_records(1) {
            match ordered {
                Ordered::Call { ts_us, record } => {
                    imported.calls += 1;
                    imported.calls_without_time += u64::from(ts_us.is_none());
                    records.push(record);
                }
                Ordered::Outcome(event) => {
                    imported.outcomes += 1;
                    records.push(event.to_bytes());
                }
            }
            if records.len() >= self.options.seal_events_max {
                flush(&mut records)?;
            }
        }
        flush(&mut records)?;
        manifest.imported = Some(imported.clone());
        manifest.store(self.log, self.options.signer.as_deref())?;
        Ok(imported)
    }

    /// Signs the head over what the manifest vouches for.
    fn vouch(&self) -> Result<(), DiskError> {
        let Some(signer) = &self.options.signer else { return Ok(()) };
        let _numbering = instance::lock_log(self.log)?;
        if let Err(why) = verify::vouch(self.log, &self.instance, signer)? {
            tracing::warn!(instance = self.instance, why, "an import has no head");
        }
        Ok(())
    }

    /// Says for people what the manifest says.
    fn mark(&self, imported: &Imported) -> Result<(), ImportError> {
        let path = self.log.join(DIR).join(format!("{}.json", self.sha256));
        if path.exists() {
            return Ok(());
        }
        let mut json = serde_json::to_vec_pretty(imported)
            .map_err(|source| ManifestError::Malformed { path: path.clone(), source })?;
        json.push(b'\n');
        Ok(disk::write_whole(&path, &self.instance, &json)?)
    }

    fn rejected_path(&self) -> PathBuf {
        let short: String = self.sha256.chars().take(8).collect();
        self.log.join(DIR).join(format!("{short}.rejected.jsonl"))
    }
}

/// Whether the first line is a whole record, as in a file of CloudTrail events one a line.
fn is_line_of_its_own(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    first.and_then(|line| json::parse(line).ok()).is_some_and(|node| node.get("eventName").is_some())
}

/// Copies what is left of a line, its end included.
fn copy_line(text: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let chunk = text.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        to.write_all(chunk.get(..taken).unwrap_or_default())?;
        text.consume(taken);
        if end.is_some() {
            return Ok(());
        }
        if taken == 0 {
            return to.write_all(b"\n");
        }
    }
}

#[cfg(test)]
mod tests;
