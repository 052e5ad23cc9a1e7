//! `tollbook log`: keys, evidence, state, export and retention of a log.

mod evidence;
mod export;
pub mod prune;
mod status;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tollbook_log::Signer;

use crate::arguments::log::Log;

pub fn run(arguments: &Log) -> anyhow::Result<ExitCode> {
    match arguments {
        Log::Keygen(arguments) => evidence::keygen(arguments),
        Log::Verify(arguments) => evidence::verify(arguments),
        Log::Prove(arguments) => evidence::prove(arguments),
        Log::CheckProof(arguments) => evidence::check_proof(arguments),
        Log::Status(arguments) => status::run(arguments),
        Log::Export(arguments) => export::run(arguments),
        Log::Prune(arguments) => prune::run(arguments),
    }
}

/// The key in a file, where one is given.
pub fn signer(path: Option<&Path>) -> anyhow::Result<Option<Arc<Signer>>> {
    Ok(path.map(Signer::load).transpose()?.map(Arc::new))
}
