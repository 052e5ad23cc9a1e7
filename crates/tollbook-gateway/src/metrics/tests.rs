use super::*;

#[test]
fn what_is_counted_is_told() {
    let metrics = Metrics::default();
    metrics.decided("srv", "echo", "deny", "/tools/echo/limits/calls");
    metrics.ended("ok");
    let text = metrics.text(Levels { unsynced: 3, sessions: 2, children: 1 }).unwrap();
    for line in [
        r#"tollbook_decisions_total{server="srv",tool="echo",outcome="deny",rule="/tools/echo/limits/calls"} 1"#,
        r#"tollbook_ends_total{end="ok"} 1"#,
        "tollbook_log_unsynced_events 3",
        "tollbook_sessions 2",
        "tollbook_children 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_flood_of_names_is_counted_together() {
    let metrics = Metrics::default();
    for number in 0..TOOLS_MAX + 5 {
        metrics.decided("srv", &format!("t{number}"), "allow", "allowed");
    }
    let text = metrics.text(Levels::default()).unwrap();
    assert!(text.contains(r#"tool="(other)",outcome="allow",rule="allowed"} 5"#), "{text}");
}
