use proptest::prelude::*;

use super::*;

fn id(letter: char) -> Option<CallId> {
    (letter != '?').then(|| CallId::new(letter as u64).unwrap())
}

fn runs(calls: &str) -> Runs {
    let mut runs = Runs::default();
    calls.chars().for_each(|letter| runs.push(id(letter)));
    runs
}

#[test]
fn length_is_the_longest_suffix_with_that_period() {
    // By definition: the longest suffix in which each call equals the one a period before.
    for calls in ["aaaa", "abababa", "abcabcab", "xaab", "aabaabaab", "abcdefghabcdefgha", "", "a", "aa?aa", "????"] {
        let letters: Vec<char> = calls.chars().collect();
        for period in 1..=PERIOD_MAX {
            let mut matches = 0;
            while letters.len() > period + matches {
                let at = letters.len() - 1 - matches;
                if letters[at] == '?' || letters[at] != letters[at - period] {
                    break;
                }
                matches += 1;
            }
            let expect = if matches == 0 { 0 } else { matches + period };
            assert_eq!(runs(calls).length(period) as usize, expect, "{calls} period {period}");
        }
    }
}

#[track_caller]
fn check(calls: &str, next: char, period: usize, repeats: u32, expect: bool) {
    assert_eq!(
        runs(calls).carried_on_by(id(next), period, repeats),
        expect,
        "{calls} then {next}, {repeats} x {period}"
    );
}

#[test]
fn a_call_carries_on_a_run_that_is_long_enough() {
    check("aa", 'a', 1, 3, false);
    check("aaa", 'a', 1, 3, true);
    check("aaa", 'b', 1, 3, false);
    check("baaa", 'a', 1, 3, true);
    check("aabaa", 'a', 1, 3, false);
    check("ababab", 'a', 2, 3, true);
    check("ababab", 'b', 2, 3, false);
    check("xababa", 'b', 2, 3, false);
    check("abcabcabc", 'a', 3, 3, true);
    check("a", 'a', 1, 1, true);
}

#[test]
fn a_run_of_one_call_is_no_cycle_of_two() {
    check("aaaaaa", 'a', 2, 3, false);
    check("aaaaaa", 'a', 1, 3, true);
    check("abababababab", 'a', 4, 3, false);
    check("abababababab", 'a', 2, 3, true);
    check("bababaaaaaa", 'a', 2, 3, false);
}

#[test]
fn unknown_arguments_are_never_alike() {
    check("???", '?', 1, 3, false);
    check("a?a", 'a', 1, 2, false);
}

proptest! {
    #[test]
    fn new_calls_are_taken_as_one_by_one(calls in "[a-c?]{0,3}[a-p?]{0,30}[a-f]{0,20}", part in 1_usize..40) {
        let calls: Vec<Option<CallId>> = calls.chars().map(id).collect();
        let (mut some, mut each) = (Runs::default(), Runs::default());
        for part in calls.chunks(part) {
            let mut left = part;
            while !left.is_empty() {
                let new = some.push_new(left);
                for call in &left[..new] {
                    each.push(*call);
                    prop_assert!((1..=PERIOD_MAX).all(|period| each.length(period) == 0));
                }
                prop_assert_eq!(&some, &each);
                left = &left[new..];
                if let Some((call, rest)) = left.split_first() {
                    some.push(*call);
                    each.push(*call);
                    // Those that were taken are all that could be.
                    let repeats = (1..=PERIOD_MAX).any(|period| each.length(period) > 0);
                    prop_assert!(repeats || new == 0);
                    left = rest;
                }
            }
        }
        prop_assert_eq!(some, each);
    }
}
