//! The log: canonical records while open, Parquet once sealed.
//!
//! ```text
//! LOG/
//!   open/<instance>.<n>.seg    framed canonical records                         segment
//!   calls/date=…/….parquet     sealed records: one row for each call            schema, rows, seal
//!   outcomes/….parquet         outcomes that came after their call was sealed
//!   events/….parquet           everything else that a replay needs
//!   manifests/<instance>.json  what is sealed; its rename is the switch         manifest
//!   checkpoints/<instance>     the last signed head of its Merkle tree          checkpoint, tree, note, key
//!   policies/<hash>.json       every policy that ever judged a call             policies
//!   snapshots/<instance>-<n>   the engine's state before event n, where older ones are gone    prune
//!     ….carried, ….left        what goes on in another instance, and what one has left         carry
//!   imports/                   what other logs were taken in, and what not      import
//!   damaged/                   what recovery set aside                          recovery
//!   lock                       held while a log is opened                       instance
//! ```
//!
//! A process writes through one [`Log`], which first recovers what dead processes left. A [`Reader`]
//! sees sealed and open events as one, each of them once, whatever is written or crashes meanwhile.
//! [`import::import`] takes in the logs of others. [`verify::verify`] tells whether anything was changed
//! since it was signed, and [`proof::prove`] proves one record to somebody who doesn't have the log.
//! [`compact::compact`] merges small files, [`prune::prune`] takes old ones out, [`status::status`] counts, [`export::export`] writes calls
//! in formats that others read. [`redact::Redaction`] keeps secrets out of what is recorded.
//!
//! What is *not* here: judging a call, SQL, and clocks, but for the name of an instance and the age of
//! a segment.

pub mod schema;
pub mod segment;

pub mod import;
pub mod manifest;
pub mod redact;

pub mod proof;
pub mod verify;

pub mod carry;
pub mod compact;
pub mod export;
pub mod prune;
pub mod status;

mod checkpoint;
mod disk;
mod instance;
mod key;
mod layout;
mod note;
mod policies;
mod reader;
mod recovery;
mod rows;
mod seal;
mod store;
mod threads;
mod tree;
mod writer;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod duckdb_test;
#[cfg(test)]
mod frozen_test;
#[cfg(test)]
mod testing;

pub use checkpoint::Head;
pub use disk::{DiskError, SegmentFile};
pub use key::{KeyError, PublicKey, Signer};
pub use manifest::{Imported, Manifest, ManifestError, PrunedRange, RetiredFile, SealedFile, SealedRange};
pub use policies::PolicyError;
pub use reader::{Events, ReadError, Reader, Replay};
pub use recovery::{RecoveredSegment, Recovery, RecoveryError, SetAside};
pub use rows::{HexColumn, RowsError};
pub use seal::SealError;
pub use store::Store;
pub use writer::{
    AppendError, BUFFER_BYTES_MAX, Clock, CloseError, Durability, FileSeam, Log, OpenError, Options, Recorded,
    SYNC_WITHIN_MS,
};
