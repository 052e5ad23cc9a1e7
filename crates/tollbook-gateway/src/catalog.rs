//! The server's list of tools, without the hidden ones.
//!
//! What stays is forwarded as it came: a hidden tool's bytes are cut out, and every other byte of the
//! answer is the server's own, but for a hint that everybody may be shown the same list.

use std::borrow::Cow;
use std::ops::Range;

use tollbook_policy::json::Node;

use crate::frame::exact;

/// The answer to a `tools/list` with only the tools that `shows` admits, and never one that a cache may serve to
/// everybody. None where the list can't be read, or one that ignores letter case could read it otherwise, so that nobody
/// can tell what stands in it.
pub(crate) fn without_hidden<'l>(
    line: &'l [u8],
    answer: &Node<'_>,
    shows: impl Fn(&str) -> bool,
) -> Option<Cow<'l, [u8]>> {
    if answer.get("error").is_some() {
        return Some(line.into());
    }
    let [result, ..] = exact(answer, ["result", "id", "error"]).ok()?;
    let result = result?;
    let [list, _] = exact(result, ["tools", "cacheScope"]).ok()?;
    let list = list?;
    let mut kept: Vec<&[u8]> = Vec::new();
    let tools = list.elements()?;
    for tool in tools {
        let [name] = exact(tool, ["name"]).ok()?;
        if shows(name?.as_str()?) {
            kept.push(line.get(tool.span.clone())?);
        }
    }
    let mut cuts: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    if kept.len() < tools.len() {
        cuts.push((list.span.clone(), [b"[".as_slice(), &kept.join(&b","[..]), b"]"].concat()));
    }
    if let Some(scope) = result.get("cacheScope").filter(|scope| scope.as_str() != Some("private")) {
        cuts.push((scope.span.clone(), b"\"private\"".to_vec()));
    }
    if cuts.is_empty() {
        return Some(line.into());
    }
    cuts.sort_by_key(|(span, _)| span.start);
    let (mut told, mut from) = (Vec::with_capacity(line.len()), 0);
    for (span, instead) in cuts {
        told.extend_from_slice(line.get(from..span.start)?);
        told.extend(instead);
        from = span.end;
    }
    told.extend_from_slice(line.get(from..)?);
    Some(told.into())
}

#[cfg(test)]
mod tests;
