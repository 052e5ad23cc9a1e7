//! Names that look like another's.
//!
//! A reader that puts text into one Unicode form, or drops what can't be seen, takes two names for one. So a
//! tool's name with invisible characters is refused outright, and one with letters beyond ASCII has to be,
//! letter for letter, a name that the server itself has listed.

use crate::frame::Refused;

/// Refuses a name with characters that can't be seen.
pub(crate) fn visible(tool: &str) -> Result<(), Refused> {
    if tool.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    match tool.char_indices().find(|(_, character)| is_invisible(*character)) {
        Some((at, character)) => Err(Refused {
            code: "tool_name_invisible",
            why: format!("the tool's name has an invisible character, {} at byte {at}", code_point(character)),
        }),
        None => Ok(()),
    }
}

/// Refuses a name beyond ASCII that the server hasn't listed in this very spelling.
pub(crate) fn listed(tool: &str, is_listed: impl FnOnce() -> bool) -> Result<(), Refused> {
    match tool.char_indices().find(|(_, character)| !character.is_ascii()) {
        Some((at, character)) if !is_listed() => Err(Refused {
            code: "tool_name_unicode",
            why: format!(
                "the tool's name has the letter {} at byte {at}, and the server has listed no tool of this very \
                 spelling, so it may be another one's name in a different Unicode form",
                code_point(character)
            ),
        }),
        _ => Ok(()),
    }
}

fn code_point(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

/// Controls, white space other than a plain space, and what Unicode calls default-ignorable.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || (character.is_whitespace() && character != ' ')
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
