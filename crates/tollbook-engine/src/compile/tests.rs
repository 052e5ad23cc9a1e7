use super::*;

#[test]
fn a_glob_matches_whole_names() {
    for (glob, name, expect) in [
        ("*", "", true),
        ("*", "anything", true),
        ("create_*", "create_", true),
        ("create_*", "recreate_x", false),
        ("*_secret", "create_secret", true),
        ("*_secret", "secret_", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("plain", "plain", true),
        ("plain", "plainer", false),
    ] {
        assert_eq!(glob_matches(glob, name), expect, "{glob} on {name}");
    }
}

#[test]
fn tools_whose_names_differ_anywhere_are_told_apart() {
    let names = ["t", "tt", "issue", "issues", "create_pull_request_a_here", "create_pull_request_b_here"];
    let hidden: String = names.iter().map(|name| format!("hide {name}\n")).collect();
    let policy = |text: &str| {
        tollbook_policy::read("p.toll", text, tollbook_policy::Target::Native).expect("a good policy").policy
    };
    let engine = Engine::compile(&policy(&format!("default allow\n{hidden}")), "srv").expect("a good policy");
    let plans: BTreeSet<Option<u64>> = names.iter().map(|name| engine.named(name).expect("is named").tool_id).collect();
    assert_eq!(plans.len(), names.len());
    assert!(engine.named("create_pull_request_c_here").is_none() && engine.named("tu").is_none());
}
