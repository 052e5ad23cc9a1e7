//! The named reports: each is a SQL file, and its columns are what the page shows.
//!
//! Each file begins with the calls that it is about; a [`Filter`] narrows those down, in SQL that can be
//! read and run by itself.

use std::fmt::Write;

/// A report that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// How often each tool is called: the busiest minute, the usual one, and so on.
    Rates,
    /// Runs of calls that repeat themselves, and what they cost.
    Loops,
    /// How near the limits came to being reached.
    Headroom,
    /// What was refused, by rule and tool.
    Denials,
    /// The sessions with the most calls.
    Sessions,
    /// What each tool does, and how it ends.
    Tools,
    /// How long decisions and answers take.
    Latency,
    /// How calls fail.
    Errors,
}

/// Which calls a report is about. None of the texts is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this time on, in microseconds since 1970.
    pub since_us: Option<i64>,
    /// Before this time, in microseconds since 1970.
    pub until_us: Option<i64>,
    /// Of this session.
    pub session: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this grant.
    pub grant: Option<String>,
    /// Of this category.
    pub category: Option<String>,
    /// Of the four categories that change something.
    pub write_only: bool,
}

/// The line of a report that a filter takes the place of.
const ALL: &str = "WHERE true\n";

impl Filter {
    fn condition(&self) -> String {
        let mut sql = "WHERE true".to_owned();
        let mut and = |text: std::fmt::Arguments<'_>| {
            // A string takes whatever is written to it.
            let _ = write!(sql, "\n        AND {text}");
        };
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        if let Some(us) = self.since_us {
            and(format_args!("ts >= to_timestamp_micros({us})"));
        }
        if let Some(us) = self.until_us {
            and(format_args!("ts < to_timestamp_micros({us})"));
        }
        for (column, value) in
            [("session", &self.session), ("tool", &self.tool), ("\"grant\"", &self.grant), ("category", &self.category)]
        {
            if let Some(value) = value {
                and(format_args!("{column} = {}", quoted(value)));
            }
        }
        if self.write_only {
            and(format_args!("category IN ('write', 'execute', 'destructive', 'financial')"));
        }
        sql.push('\n');
        sql
    }
}

impl Report {
    /// The query behind it.
    #[must_use]
    pub fn sql(self, filter: &Filter) -> String {
        let file = match self {
            Self::Rates => include_str!("report/rates.sql"),
            Self::Loops => include_str!("report/loops.sql"),
            Self::Headroom => include_str!("report/headroom.sql"),
            Self::Denials => include_str!("report/denials.sql"),
            Self::Sessions => include_str!("report/sessions.sql"),
            Self::Tools => include_str!("report/tools.sql"),
            Self::Latency => include_str!("report/latency.sql"),
            Self::Errors => include_str!("report/errors.sql"),
        };
        narrowed(file, filter)
    }

    /// What it shows, in one line.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Rates => "Calls a minute, by tool (every attempt counts, refused ones too)",
            Self::Loops => {
                "Loops: blocks of up to 8 calls that follow themselves 3 times or more, the most wasteful first"
            }
            Self::Headroom => "Use of each limit just before a call, in percent of what it admits",
            Self::Denials => "Refused and held calls, by rule and tool",
            Self::Sessions => "Sessions, those with the most calls first",
            Self::Tools => "Tools: what they do, how often they are called, and how that ends",
            Self::Latency => "Time of decisions and of the answers, by tool",
            Self::Errors => "Calls that failed, by tool and outcome",
        }
    }

    /// Its pages, the first of which [`Self::sql`] asks for.
    #[must_use]
    pub fn pages(self, filter: &Filter) -> Vec<Page> {
        let more: &[(&str, &str, &str)] = match self {
            Self::Loops => &[
                ("in_all", "In all, polling apart", include_str!("report/loops_all.sql")),
                ("by_tools", "By tools, agent and period", include_str!("report/loops_by.sql")),
            ],
            Self::Rates => &[(
                "writes",
                "Calls a minute that change something, by category",
                include_str!("report/rates_write.sql"),
            )],
            _ => &[],
        };
        let first = Page { name: self.name(), title: self.title(), sql: self.sql(filter) };
        let more = more.iter().map(|(name, title, sql)| Page { name, title, sql: narrowed(sql, filter) });
        std::iter::once(first).chain(more).collect()
    }

    /// Its name, as it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Loops => "loops",
            Self::Headroom => "headroom",
            Self::Denials => "denials",
            Self::Sessions => "sessions",
            Self::Tools => "tools",
            Self::Latency => "latency",
            Self::Errors => "errors",
        }
    }
}

/// One answer of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What programs call it.
    pub name: &'static str,
    /// What it shows, in one line.
    pub title: &'static str,
    /// The query behind it.
    pub sql: String,
}

/// A report's file, of the calls that a filter leaves.
fn narrowed(file: &str, filter: &Filter) -> String {
    file.replacen(ALL, &filter.condition(), 1)
}
