use std::collections::BTreeSet;

use super::*;

#[test]
fn every_column_has_its_own_name_and_a_meaning() {
    for columns in [calls::COLUMNS, outcomes::COLUMNS, events::COLUMNS, limit::COLUMNS] {
        let names: BTreeSet<_> = columns.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), columns.len());
        assert!(columns.iter().all(|column| column.doc.ends_with('.')));
    }
}

#[test]
fn the_names_of_calls_are_stable() {
    let names: Vec<_> = calls::COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(
        names.join(" "),
        "instance seq ts judged_by server session grant agent request_id tool args args_kept args_keys args_hash \
         args_bytes policy_hash mode decision reason rule message limits decide_ns outcome done_ts done_seq \
         upstream_us result_bytes result_hash trace_id label shadow_rules \
         loop_period loop_repeats approval category continues"
    );
}

#[test]
fn an_amount_holds_every_count_of_millionths() {
    let digits = i64::MIN.to_string().trim_start_matches('-').len();
    assert_eq!(digits, usize::from(AMOUNT_PRECISION));
}
