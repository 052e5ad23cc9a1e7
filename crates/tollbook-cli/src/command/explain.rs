//! `tollbook explain`: the page of a code.

use std::process::ExitCode;

use tollbook_policy::Code;

use crate::arguments::language::Explain;

pub fn run(arguments: &Explain) -> anyhow::Result<ExitCode> {
    let Some(written) = &arguments.code else {
        let list: String = Code::ALL.iter().map(|code| format!("{code}  {}\n", code.message())).collect();
        crate::print(&list)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(code) = Code::parse(written) else {
        anyhow::bail!("there is no code `{written}`; `tollbook explain` lists all of them");
    };
    crate::print(&format!("{code}: {}\n\n{}", code.message(), code.page().trim_start()))?;
    Ok(ExitCode::SUCCESS)
}
