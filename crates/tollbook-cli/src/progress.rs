//! How far a long reading is: shown from the first second on, where somebody watches a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tollbook_log::Reader;

/// From when on it is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// How many events are counted at once.
const STEP: u64 = 4_096;

/// Counts what was read, and shows rate and time left.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    events: u64,
}

impl Progress {
    /// Over all events of a log, `passes` times. What lies in open segments is little, and isn't counted
    /// beforehand.
    pub fn over(reader: &Reader, passes: u64) -> Self {
        let ranges = reader.manifests().flat_map(|manifest| &manifest.ranges);
        let events: u64 = ranges.map(|range| range.last_seq - range.first_seq + 1).sum();
        let all = events.saturating_mul(passes);
        Self::of(all, "{bar:30} {percent:>3} %  {human_pos} events, {per_sec}, {eta} left")
    }

    /// Over the bytes of a file, whose number [`Progress::bytes`] says.
    pub fn over_file() -> Self {
        Self::of(0, "{bar:30} {percent:>3} %  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    }

    fn of(all: u64, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), events: 0 }
    }

    /// One event more.
    pub fn event(&mut self) {
        self.events += 1;
        if self.events.is_multiple_of(STEP) {
            self.bar.inc(STEP);
            self.show();
        }
    }

    /// So many bytes of so many were read by now.
    pub fn bytes(&mut self, read: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(read);
        self.show();
    }

    fn show(&self) {
        if self.bar.is_hidden() && self.began.elapsed() >= SHOWN_AFTER {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
