//! `tollbook compile`: the policy as JSON.

use std::process::ExitCode;

use crate::arguments::{Compile, Target};
use crate::policy::Source;

pub fn run(arguments: &Compile) -> anyhow::Result<ExitCode> {
    let source = Source::read(&arguments.file)?;
    let target = match arguments.target {
        Target::Policylayer => tollbook_policy::Target::PolicyLayer,
        Target::Native => tollbook_policy::Target::Native,
    };
    let Some(policy) = source.compile(target) else { return Ok(ExitCode::from(1)) };
    crate::print(&policy.to_json())?;
    Ok(ExitCode::SUCCESS)
}
