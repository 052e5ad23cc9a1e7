use super::*;

#[test]
fn numbers_are_those_of_json_with_underscores_between_digits() {
    for good in ["0", "10_000", "-1.5", "1e3", "1_0.2_5"] {
        assert!(number(good).is_some(), "{good}");
    }
    for bad in ["01", "1__0", "1_", "_1", "1_.5", "1.", "1e", "-", "1e99999999999999999999"] {
        assert!(number(bad).is_none(), "{bad}");
    }
    assert_eq!(whole("10_000"), Some(10_000));
    assert_eq!(whole("1.0"), None);
    assert_eq!(whole("-1"), None);
    assert_eq!(whole("18446744073709551616"), None);
}

#[test]
fn durations_have_a_count_and_a_unit() {
    assert_eq!(duration("15m"), Ok(Duration { count: 15, unit: Unit::Minute }));
    assert_eq!(duration("0s"), Err(Code::BadDuration));
    assert_eq!(duration("4294967296s"), Err(Code::BadDuration));
    assert_eq!(duration("15min"), Err(Code::UnknownUnit));
    assert_eq!(duration("15q"), Err(Code::UnknownUnit));
}

#[test]
fn times_have_two_digits_and_a_day() {
    assert_eq!(time("00:00"), Some(0));
    assert_eq!(time("23:59"), Some(1_439));
    for bad in ["24:00", "8:00", "08:60", "008:00"] {
        assert_eq!(time(bad), None, "{bad}");
    }
}

#[test]
fn timestamps_are_counted_from_1970() {
    for (written, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T00:00:00.5Z", 951_782_400_500_000),
        ("2026-01-05T09:00:00Z", 1_767_603_600_000_000),
        ("2026-01-05T10:30:00+01:30", 1_767_603_600_000_000),
        ("2026-01-05t04:00:00-05:00", 1_767_603_600_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
    ] {
        assert_eq!(timestamp(written), Some(micros), "{written}");
    }
    for bad in [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-05T09:00:60Z",
        "2026-01-05T09:00:00",
        "2026-01-05T09:00Z",
        "2026-01-05T09:00:00.1234567Z",
        "2026-01-05T09:00:00+24:00",
        "2026-01-05T09:00:00ZZ",
    ] {
        assert_eq!(timestamp(bad), None, "{bad}");
    }
}

#[test]
fn strings_are_those_of_json() {
    assert_eq!(string(r#""a\n\u0041""#), Ok("a\nA".to_owned()));
    for bad in [r#""open"#, r#""\q""#, r#""\ud800""#, "\"a\tb\""] {
        assert!(string(bad).is_err(), "{bad}");
    }
}
