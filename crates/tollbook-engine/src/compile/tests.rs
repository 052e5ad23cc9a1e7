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
