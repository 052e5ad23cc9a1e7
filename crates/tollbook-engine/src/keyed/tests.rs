use super::*;

#[test]
fn what_was_found_lately_is_forgotten_with_its_key() {
    let mut keyed = Keyed::<i64>::new(0);
    let (first, second) = ((0, "", ""), (0, "srv", "session"));
    // An empty slot looks like the key of nothing.
    for key in [second, first] {
        let held = keyed.insert(key, 1).unwrap();
        assert_eq!(keyed.find_mut(key, UNCODED).map(|(found, _)| found), Some(held));
        keyed.remove(held);
        assert!(keyed.find_mut(key, UNCODED).is_none());
        assert!(keyed.find_mut(first, UNCODED).is_none());
    }
    // The same slot, of another key.
    let other = keyed.insert((0, "srv", "other"), 2).unwrap();
    assert_eq!(other.slot(), 0);
    assert!(keyed.find_mut(second, UNCODED).is_none());
    assert_eq!(keyed.find_mut((0, "srv", "other"), UNCODED).map(|(found, value)| (found, *value)), Some((other, 2)));
}

#[test]
fn keys_that_meet_among_those_found_lately_are_all_found() {
    let mut keyed = Keyed::<usize>::new(0);
    let names: Vec<String> = (0..4 * RECENT).map(|number| format!("session-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        keyed.insert((7, "", name), number).unwrap();
    }
    for _ in 0..2 {
        for (number, name) in names.iter().enumerate() {
            assert_eq!(keyed.find_mut((7, "", name), UNCODED).map(|(_, value)| *value), Some(number));
            assert!(keyed.find_mut((8, "", name), UNCODED).is_none());
        }
    }
}
