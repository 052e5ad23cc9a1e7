//! The condition on which a backtest ends with code 1.

use super::{Tried, percent};

/// When a backtest ends with code 1.
#[derive(Debug, Clone)]
pub struct FailOn {
    text: String,
    metric: Metric,
    or_equal: bool,
    /// A count, or a share in hundredths of a per cent.
    bound: u64,
    share: bool,
}

#[derive(Debug, Clone, Copy)]
enum Metric {
    NewlyRefused,
    NewlyAllowed,
    SessionsTouched,
    Unknown,
}

impl std::str::FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a condition such as `newly_refused > 0.1%` or `sessions_touched >= 3`";
        let (name, bound) = text.split_once('>').ok_or(expected)?;
        let metric = match name.trim() {
            "newly_refused" => Metric::NewlyRefused,
            "newly_allowed" => Metric::NewlyAllowed,
            "sessions_touched" => Metric::SessionsTouched,
            "unknown" => Metric::Unknown,
            other => return Err(format!("unknown figure `{other}`; {expected}")),
        };
        let or_equal = bound.starts_with('=');
        let bound = bound.trim_start_matches('=').trim();
        let number = bound.strip_suffix('%').map(str::trim_end);
        let decimal = tollbook_policy::Decimal::parse(number.unwrap_or(bound)).ok_or(expected)?;
        let micros = decimal.to_micros().and_then(|micros| u64::try_from(micros).ok()).ok_or(expected)?;
        let unit = if number.is_some() { 10_000 } else { 1_000_000 };
        if micros % unit != 0 {
            return Err(format!("`{bound}` is finer than a hundredth of a per cent, or no whole count; {expected}"));
        }
        let share = number.is_some();
        Ok(Self { text: text.to_owned(), metric, or_equal, bound: micros / unit, share })
    }
}

impl std::fmt::Display for FailOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FailOn {
    fn parts(&self, one: &Tried) -> (u64, u64) {
        let report = one.candidate.report();
        let calls = report.all.calls;
        match self.metric {
            Metric::NewlyRefused => (report.all.change.newly_refused, calls),
            Metric::NewlyAllowed => (report.all.change.newly_allowed, calls),
            Metric::SessionsTouched => (report.sessions_touched(), report.sessions),
            Metric::Unknown => (report.all.unknown, calls),
        }
    }

    /// Whether it holds of a candidate.
    pub fn holds(&self, one: &Tried) -> bool {
        let (part, whole) = self.parts(one);
        // As products, so that nothing is rounded.
        let (found, bound) = match self.share {
            true => (u128::from(part) * 10_000, u128::from(self.bound) * u128::from(whole)),
            false => (u128::from(part), u128::from(self.bound)),
        };
        found > bound || (self.or_equal && found == bound)
    }

    /// What was found, in words.
    pub fn found(&self, one: &Tried) -> String {
        let (part, whole) = self.parts(one);
        format!("{part} of {whole}, {} %", percent(part, whole))
    }
}
