//! The server's list of tools, without the hidden ones.
//!
//! What stays is forwarded as it came: a hidden tool's bytes are cut out, and every other byte of the
//! answer is the server's own.

use std::borrow::Cow;

use tollbook_policy::json::Node;

/// The answer to a `tools/list` with only the tools that `shows` admits. None where the list can't be
/// read, so that nobody can tell what stands in it.
pub(crate) fn without_hidden<'l>(
    line: &'l [u8],
    answer: &Node<'_>,
    shows: impl Fn(&str) -> bool,
) -> Option<Cow<'l, [u8]>> {
    if answer.get("error").is_some() {
        return Some(line.into());
    }
    let list = answer.get("result")?.get("tools")?;
    let mut kept: Vec<&[u8]> = Vec::new();
    let tools = list.elements()?;
    for tool in tools {
        if shows(tool.get("name")?.as_str()?) {
            kept.push(line.get(tool.span.clone())?);
        }
    }
    if kept.len() == tools.len() {
        return Some(line.into());
    }
    let (before, after) = (line.get(..list.span.start)?, line.get(list.span.end..)?);
    Some([before, b"[", &kept.join(&b","[..]), b"]", after].concat().into())
}

#[cfg(test)]
mod tests;
