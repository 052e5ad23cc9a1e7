//! Rounds over all subjects, and the table.

use std::path::Path;
use std::time::Duration;

use crate::client::IN_FLIGHT;
use crate::subject::{self, Subject};

/// Which core the system finds for whom changes what a round gives by half, so the median of ten is luck.
const ROUNDS: usize = 60;
const WARM: usize = 200;
const ALONE: usize = 1_000;
/// Long enough for the system to have found a core for each process, which takes it some tens of milliseconds.
const TOGETHER: Duration = Duration::from_millis(250);

/// What one subject gave, a figure a round.
struct Measured {
    name: &'static str,
    over: &'static str,
    /// Median of a round's calls one at a time, in microseconds.
    p50_us: Vec<f64>,
    calls_per_second: Vec<f64>,
}

pub fn all(tollbook: &Path) -> anyhow::Result<()> {
    let rounds: usize = std::env::var("ROUNDS").ok().map_or(Ok(ROUNDS), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let mut subjects = subject::all(tollbook, dir.path())?;
    let new = |subject: &Subject| {
        let (name, over) = (subject.name, subject.over);
        Measured { name, over, p50_us: Vec::new(), calls_per_second: Vec::new() }
    };
    let mut measured: Vec<Measured> = subjects.iter().map(new).collect();
    for _ in 0..rounds {
        for (subject, into) in subjects.iter_mut().zip(&mut measured) {
            subject.client.one_at_a_time(WARM)?;
            let mut took = subject.client.one_at_a_time(ALONE)?;
            took.sort();
            into.p50_us.push(took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e6);
            into.calls_per_second.push(subject.client.in_flight(TOGETHER)?);
        }
    }
    table(&measured, rounds);
    Ok(())
}

fn table(measured: &[Measured], rounds: usize) {
    println!("{rounds} rounds; medians of the rounds, and in brackets the quarter below and the quarter above");
    println!(
        "| over | what | p50, µs | added, µs | of the relay's | calls/s, {IN_FLIGHT} in flight | of the relay's |"
    );
    println!("|---|---|---|---|---|---|---|");
    for one in measured {
        let of = |name: &str| measured.iter().find(|other| other.over == one.over && other.name == name);
        // Round by round, because what else the machine does changes from one to the next.
        let added = |one: &Measured| -> Option<Vec<f64>> {
            Some(one.p50_us.iter().zip(&of("direct")?.p50_us).map(|(through, direct)| through - direct).collect())
        };
        let relay = of("bare relay");
        let times = added(one).zip(relay.and_then(added)).map(|(one, relay)| ratios(&one, &relay));
        let part = relay.map(|relay| ratios(&one.calls_per_second, &relay.calls_per_second));
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            one.over,
            one.name,
            spread(&one.p50_us, 1),
            added(one).map(|added| spread(&added, 1)).unwrap_or_default(),
            times.map(|times| spread(&times, 2)).unwrap_or_default(),
            spread(&one.calls_per_second, 0),
            part.map(|part| spread(&part, 2)).unwrap_or_default(),
        );
    }
}

fn ratios(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one / other).collect()
}

/// The median, and the quarters.
fn spread(values: &[f64], places: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: usize| sorted.get((sorted.len() - 1) * part / 4).copied().unwrap_or_default();
    format!("{:.places$} ({:.places$} to {:.places$})", at(2), at(1), at(3))
}
