use super::*;

/// `+` where calls are let through at each RFC 3339 instant, `-` where not.
#[track_caller]
fn check(days: &[Day], hours: (u16, u16), zone: &str, instants: &[&str], expect: &str) {
    let hours = Hours::compile(&OnlyDuring {
        days: days.to_vec(),
        from_minute: hours.0,
        to_minute: hours.1,
        zone: zone.into(),
        on_deny: None,
        shadow: false,
    })
    .unwrap();
    let found: String = instants
        .iter()
        .map(|instant| if hours.contain(instant.parse::<Timestamp>().unwrap().as_microsecond()) { '+' } else { '-' })
        .collect();
    assert_eq!(found, expect);
}

const WEEKDAYS: &[Day] = &[Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];

#[test]
fn hours_are_half_open_on_the_named_days() {
    let instants = [
        "2026-01-05T07:59:59Z",
        "2026-01-05T08:00:00Z",
        "2026-01-05T17:59:59Z",
        "2026-01-05T18:00:00Z",
        "2026-01-04T12:00:00Z",
    ];
    check(WEEKDAYS, (480, 1080), "Europe/London", &instants, "-++--");
}

#[test]
fn clocks_are_local_and_follow_daylight_saving() {
    // London is an hour ahead of UTC in July.
    check(
        WEEKDAYS,
        (480, 1080),
        "Europe/London",
        &["2026-07-06T06:59:59Z", "2026-07-06T07:00:00Z", "2026-07-06T17:00:00Z"],
        "-+-",
    );
    // 2026-03-29: clocks go from 01:00 to 02:00, so 01:30 never comes; in October it comes twice.
    let sunday = &[Day::Sun];
    check(
        sunday,
        (90, 150),
        "Europe/London",
        &["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:29:59Z", "2026-03-29T01:30:00Z"],
        "-++-",
    );
    check(
        sunday,
        (60, 120),
        "Europe/London",
        &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        "++-",
    );
}

#[test]
fn hours_over_midnight_belong_to_the_day_they_begin_on() {
    let instants = [
        "2026-01-09T21:59:00Z",
        "2026-01-09T22:00:00Z",
        "2026-01-10T05:59:00Z",
        "2026-01-10T06:00:00Z",
        "2026-01-10T22:00:00Z",
        "2026-01-05T05:00:00Z",
    ];
    check(WEEKDAYS, (1320, 360), "UTC", &instants, "-++---");
    check(
        &[Day::Sun],
        (720, 720),
        "UTC",
        &["2026-01-04T11:59:00Z", "2026-01-04T12:00:00Z", "2026-01-05T11:59:00Z", "2026-01-05T12:00:00Z"],
        "-++-",
    );
}

#[test]
fn an_unknown_zone_is_an_error() {
    let source = OnlyDuring {
        days: vec![],
        from_minute: 0,
        to_minute: 0,
        zone: "Mars/Olympus".into(),
        on_deny: None,
        shadow: false,
    };
    assert!(Hours::compile(&source).unwrap_err().contains("Mars/Olympus"));
}
