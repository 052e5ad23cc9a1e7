use super::*;

fn read(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    std::fs::write(&file, text).unwrap();
    Config::read(&file).map_err(|error| error.to_string().replace(&format!("{}", dir.path().display()), "DIR"))
}

#[track_caller]
fn check(text: &str, says: &str) {
    let error = read(text).unwrap_err();
    assert!(error.contains(says), "expected `{says}` in: {error}");
}

#[test]
fn a_whole_configuration_is_read() {
    let config = read(
        r#"
        listen = "127.0.0.1:0"
        log = "log"
        durability = "fsync"
        [bounds]
        session_idle_s = 5
        [servers.files]
        command = "server"
        args = ["."]
        env = { KEY = { file = "key" } }
        policy = "files.toll"
        [servers.mail]
        url = "https://mail.example/mcp"
        headers = { Authorization = { env = "MAIL_TOKEN", prefix = "Bearer " }, X-Team = "tolls" }
        "#,
    )
    .unwrap();
    assert_eq!(config.durability, Durability::Fsync);
    assert_eq!(config.bounds, Bounds { session_idle_s: 5, ..Bounds::default() });
    assert!(config.servers["files"].policy.as_ref().unwrap().is_absolute());
    let key = config.servers["files"].env["KEY"].had().unwrap_err();
    assert!(key.contains("which can't be read"), "{key}");
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    check("log = \"l\"\n", "missing field `servers`");
    check("log = \"l\"\nlisen = 5\n[servers]\n", "unknown field `lisen`, expected one of `listen`");
    check("log = 5\n[servers]\n", "log = 5");
    check("log = \"l\"\ndurability = \"sync\"\n[servers]\n", "unknown variant `sync`, expected one of `fsync`");
    check("log = \"l\"\n[servers.a]\n", "`servers.a` has neither `command` nor `url`");
    check("log = \"l\"\n[servers.a]\ncommand = \"x\"\nurl = \"http://y\"\n", "`servers.a.url` stands beside `command`");
    check("log = \"l\"\n[servers.\"a/b\"]\ncommand = \"x\"\n", "`servers.a/b` is no name for a path");
    check("log = \"l\"\n[servers.a]\nurl = \"http://y\"\nargs = [\"x\"]\n", "`servers.a.args` stands beside `url`");
    check("log = \"l\"\n[servers.a]\nurl = \"http://y\"\nheaders = { A = {} }\n", "either `env` or `file` is expected");
    check("log = \"l\"\n[servers.a]\ncommand = \"x\"\n[bounds]\nframes = 1\n", "unknown field `frames`");
}

#[test]
fn a_place_that_cannot_be_is_told_when_it_is_needed() {
    let wrong = |text: &str| read(text).unwrap().places().unwrap_err();
    let (key, why) = wrong("log = \"l\"\n[servers.a]\nurl = \"ftp://y\"\n");
    assert_eq!((key.as_str(), why.as_str()), ("servers.a.url", "`ftp://y` isn't an http or https URL"));
    let unset = "log = \"l\"\n[servers.a]\nurl = \"http://y\"\nheaders = { A = { env = \"TOLLBOOK_NOT_SET\" } }\n";
    let (key, why) = wrong(unset);
    assert_eq!(key, "servers.a.headers.A");
    assert!(why.contains("isn't set in the environment"), "{why}");
}
