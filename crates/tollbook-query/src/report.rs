//! The named reports: each is a SQL file, and its columns are what the page shows.

/// A report that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// How often each tool is called: the busiest minute, the usual one, and so on.
    Rates,
    /// What was refused, by rule and tool.
    Denials,
}

impl Report {
    /// The query behind it.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Rates => include_str!("report/rates.sql"),
            Self::Denials => include_str!("report/denials.sql"),
        }
    }

    /// What it shows, in one line.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Rates => "Calls a minute, by tool (every attempt counts, refused ones too)",
            Self::Denials => "Refused and held calls, by rule and tool",
        }
    }
}
