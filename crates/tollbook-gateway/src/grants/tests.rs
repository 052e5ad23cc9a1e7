use super::*;

#[test]
fn a_token_is_good_where_its_grant_is_and_its_text_is_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = Grants::beside(&dir.path().join("tollbook.toml"));
    assert_eq!(Grants::read(&file).unwrap(), Grants::default());
    let token = new_token().unwrap();
    let servers = BTreeMap::from([("files".to_owned(), None)]);
    let grants = Grants { grants: BTreeMap::from([("ada".to_owned(), Grant { sha256: hash(&token), servers })]) };
    grants.write(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&token) && token.len() == 69, "{text}");
    let tokens = Grants::read(&file).unwrap().tokens();
    assert_eq!(tokens.grant("files", &token), Some("ada"));
    assert_eq!(tokens.grant("mail", &token), None);
    assert_eq!(tokens.grant("files", &hash(&token)), None);
}
