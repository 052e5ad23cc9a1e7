//! A page for every code: what it means, an example, the way out.
//!
//! The pages are Markdown. The example of each is compiled by a test and must give its code, so no
//! page can come to explain something else.

use crate::code::Code;

/// The pages, each under a heading that is its code.
const PAGES: [&str; 4] = [
    include_str!("explain/syntax.md"),
    include_str!("explain/meaning.md"),
    include_str!("explain/target.md"),
    include_str!("explain/lint.md"),
];

impl Code {
    /// The code of this name, in whatever case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
    }

    /// The page that explains it, as Markdown; ends with a line feed.
    #[must_use]
    pub fn page(self) -> &'static str {
        let heading = format!("## {self}\n");
        let found = PAGES.iter().find_map(|pages| pages.split_once(&heading));
        let rest = found.map_or("", |(_, rest)| rest);
        rest.split_once("\n## ").map_or(rest, |(page, _)| page)
    }
}

#[cfg(test)]
mod tests;
