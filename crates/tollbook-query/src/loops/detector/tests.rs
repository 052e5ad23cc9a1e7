use proptest::prelude::*;

use std::num::NonZeroU64;
use std::sync::Arc;

use super::{Detector, Instant, Kept, Loop, Results, Seen, Went, call_id};

/// A call: the letter says which, `?` one whose arguments were lost; a capital ends in an error.
fn detected(calls: &str) -> Vec<Loop> {
    let found = in_parts::<Went>(calls, 1);
    for part in 2..=calls.len().max(2) {
        assert_eq!(in_parts::<Went>(calls, part), found, "{calls} {part}");
    }
    // Where nobody asks how calls went, the loops are the same.
    let bare = |one: &Loop| Loop { errors: 0, results: Results::Unknown, span_us: None, ..one.clone() };
    assert_eq!(in_parts::<()>(calls, 3), found.iter().map(bare).collect::<Vec<_>>(), "{calls}");
    found
}

/// The same, handed over so many at a time.
fn in_parts<W: Kept>(calls: &str, part: usize) -> Vec<Loop> {
    let mut detector = Detector::default();
    let (mut ids, mut seen) = (Vec::new(), Vec::new());
    for (seq, letter) in (0..).zip(calls.chars()) {
        let lower = letter.to_ascii_lowercase();
        let tool = if lower.is_ascii_digit() { "other" } else { "tool" };
        let tool = detector.names.tools.number(tool);
        let went =
            || Went { at: Instant::of_us(seq * 10), error: letter.is_ascii_uppercase(), result: NonZeroU64::new(1) };
        seen.push(Seen { seq: seq * 2, tool: Some(tool), went: W::of(went) });
        ids.push((letter != '?').then(|| call_id(tool, u64::from(lower))));
    }
    for (ids, seen) in ids.chunks(part).zip(seen.chunks(part)) {
        let instance = detector.instance(&Arc::from("i"));
        let session = detector.session(instance, "s");
        detector.push(session, ids, seen);
    }
    let mut found = detector.take();
    found.extend(detector.finish());
    found
}

fn check(calls: &str, expect: &[(u64, u32, u32)]) {
    let mut found: Vec<_> = detected(calls).iter().map(|one| (one.start_in_session, one.period, one.repeats)).collect();
    found.sort_unstable();
    assert_eq!(found, expect, "{calls}");
    assert_eq!(found, by_definition(calls), "{calls}");
}

/// Maximal runs with a period up to 8 and three whole repeats, but for those inside one of a smaller period.
fn by_definition(calls: &str) -> Vec<(u64, u32, u32)> {
    let calls: Vec<char> = calls.to_ascii_lowercase().chars().collect();
    let equal = |a: usize, b: usize| calls[a] == calls[b] && calls[a] != '?';
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for period in 1..=8 {
        for start in 0..calls.len() {
            if start > 0 && start - 1 + period < calls.len() && equal(start - 1, start - 1 + period) {
                continue;
            }
            let mut end = start + period;
            while end < calls.len() && equal(end, end - period) {
                end += 1;
            }
            if end <= calls.len() && end - start >= 3 * period {
                runs.push((start, end, period));
            }
        }
    }
    let number = |value: usize| u32::try_from(value).unwrap();
    let inside =
        |run: &(usize, usize, usize)| runs.iter().any(|other| other.2 < run.2 && other.0 <= run.0 && other.1 >= run.1);
    let mut kept: Vec<_> = runs
        .iter()
        .filter(|run| !inside(run))
        .map(|(start, end, period)| (*start as u64, number(*period), number((end - start) / period)))
        .collect();
    kept.sort_unstable();
    kept
}

#[test]
fn a_loop_is_three_whole_repeats() {
    check("", &[]);
    check("aa", &[]);
    check("aaa", &[(0, 1, 3)]);
    check("xaaay", &[(1, 1, 3)]);
    check("xababay", &[]);
    check("xabababay", &[(1, 2, 3)]);
    check("abcdefghabcdefghabcdefgh", &[(0, 8, 3)]);
    check("abcdefghiabcdefghiabcdefghi", &[]);
}

#[test]
fn a_run_inside_one_of_a_smaller_period_is_dropped() {
    check("aaaaaaaaa", &[(0, 1, 9)]);
    check("abababababab", &[(0, 2, 6)]);
}

#[test]
fn a_run_inside_a_longer_block_is_a_loop_of_its_own() {
    check("aaabaaabaaab", &[(0, 1, 3), (0, 4, 3), (4, 1, 3), (8, 1, 3)]);
}

#[test]
fn lost_arguments_are_never_a_loop() {
    check("????????", &[]);
    check("aa?aa", &[]);
    check("a?a?a?a?", &[]);
}

#[test]
fn what_is_told_is_of_the_whole_repeats() {
    let found = detected("xaBabaBAy");
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.start_seq, one.start_in_session, one.period, one.repeats), (2, 1, 2, 3));
    assert_eq!((one.errors, one.span_us, one.still_running), (2, Some(50), false));
    assert_eq!(one.results, Results::Same);
    assert!(detected("xaaa")[0].still_running);
}

#[test]
fn all_tools_of_the_longest_block_are_told() {
    let found = detected("1abcdefg1abcdefg1abcdefgx");
    assert_eq!(found[0].tools, ["other", "tool"]);
}

#[test]
fn sessions_and_instances_stand_alone() {
    let mut detector = Detector::<()>::default();
    let tool = detector.names.tools.number("t");
    let seen = |seq| Seen { seq, tool: Some(tool), went: () };
    for seq in 0..30 {
        let (instance, session) = [("i", "a"), ("i", "b"), ("j", "a"), ("j", "c")][seq % 4];
        let instance = detector.instance(&Arc::from(instance));
        let session = detector.session(instance, session);
        if seq % 4 < 3 {
            detector.push(session, &[Some(call_id(tool, 1))], &[seen(i64::try_from(seq).unwrap())]);
        }
    }
    let found: Vec<_> =
        detector.finish().into_iter().map(|one| (one.instance, one.session, one.repeats, one.results)).collect();
    let row =
        |instance: &str, session: &str, repeats| (instance.to_owned(), session.to_owned(), repeats, Results::Unknown);
    assert_eq!(found, [row("i", "a", 8), row("i", "b", 8), row("j", "a", 7)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_detector_agrees_with_the_definition(
        blocks in prop::collection::vec(("[ab?]{1,3}|[a-d]{1,9}", 1_usize..6), 0..7)
    ) {
        let calls: String = blocks.iter().map(|(block, times)| block.repeat(*times)).collect();
        let mut found: Vec<_> =
            detected(&calls).iter().map(|one| (one.start_in_session, one.period, one.repeats)).collect();
        found.sort_unstable();
        prop_assert_eq!(found, by_definition(&calls), "{}", calls);
    }
}
