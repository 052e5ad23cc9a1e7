use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("`{text}` is a number"))
}

#[test]
fn equal_numbers_are_equal_however_they_are_written() {
    for (a, b) in
        [("1", "1.0"), ("1", "10e-1"), ("0", "-0.0e9"), ("100", "1E2"), ("0.001", "1e-3"), ("-2.50", "-25e-1")]
    {
        assert_eq!(decimal(a), decimal(b));
    }
}

#[test]
fn order_is_exact_beyond_a_float() {
    let ascending = [
        "-1e1000000",
        "-10",
        "-9.99",
        "-0.1",
        "0",
        "1e-400",
        "0.1",
        "0.10000000000000000000000001",
        "1",
        "1.5",
        "9",
        "10",
        "9007199254740992",
        "9007199254740993",
        "1e22",
        "123456789012345678901234567890",
        "1e1000000",
    ];
    for pair in ascending.windows(2) {
        assert!(decimal(pair[0]) < decimal(pair[1]), "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn what_is_not_a_json_number_is_none() {
    for text in ["", "-", "01", "1.", ".5", "+1", "1e", "e5", "NaN", "1_000", " 1", "0x1", "1e9999999999999999999"] {
        assert_eq!(Decimal::parse(text), None, "`{text}`");
    }
}

#[test]
fn it_is_written_as_ecmascript_writes_it() {
    for (text, written) in [
        ("0", "0"),
        ("-0", "0"),
        ("1.0", "1"),
        ("100", "100"),
        ("1e21", "1e+21"),
        ("123e18", "123000000000000000000"),
        ("1e20", "100000000000000000000"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1.5e-9", "1.5e-9"),
        ("-12.340", "-12.34"),
        ("9007199254740993", "9007199254740993"),
        ("1.25e30", "1.25e+30"),
    ] {
        assert_eq!(decimal(text).to_string(), written, "`{text}`");
        assert_eq!(decimal(written), decimal(text));
    }
}

#[test]
fn micros_are_whole_millionths_or_nothing() {
    for (text, micros) in [
        ("0", Some(0)),
        ("1", Some(1_000_000)),
        ("0.000001", Some(1)),
        ("0.0000001", None),
        ("-2.5", Some(-2_500_000)),
        ("1e12", Some(1_000_000_000_000_000_000)),
        ("1e13", None),
        ("1e400", None),
        ("12.345678", Some(12_345_678)),
    ] {
        assert_eq!(decimal(text).to_micros(), micros, "`{text}`");
    }
}
