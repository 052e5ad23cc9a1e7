use super::*;

#[test]
fn a_key_comes_back_from_its_file_and_from_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let signer = Signer::generate().unwrap();
    signer.store(&path).unwrap();
    assert_eq!(Signer::load(&path).unwrap().public(), signer.public());
    let text = signer.public().to_string();
    assert!(text.starts_with("tollbook+"), "{text}");
    assert_eq!(PublicKey::read(&text).unwrap(), signer.public());
    let public = dir.path().join("key.pub");
    std::fs::write(&public, format!("{text}\n")).unwrap();
    assert_eq!(PublicKey::read(public.to_str().unwrap()).unwrap(), signer.public());
    assert!(!format!("{signer:?}").contains("PRIVATE"));
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    Signer::generate().unwrap().store(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Signer::generate().unwrap().store(&path), Err(KeyError::Exists(_))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Signer::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("can be read by others: its mode is 644, and 600 was expected"), "{error}");
}

/// The example of the Go package `golang.org/x/mod/sumdb/note`, whose key has another name.
#[test]
fn what_is_not_a_key_of_ours_is_refused() {
    let go = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let text = Signer::from_secret(&[7; 32]).public().to_string();
    let wrong_id = text.replacen(text.split('+').nth(1).unwrap(), "00000000", 1);
    for bad in [go, &wrong_id, "", "tollbook+x+y", text.trim_end_matches(|end: char| end != '+')] {
        assert!(matches!(PublicKey::read(bad), Err(KeyError::NotPublic(_))), "{bad}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    Signer::generate().unwrap().store(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    assert!(matches!(Signer::load(&path), Err(KeyError::NotPrivate(_))));
}

/// The id of Go's example, so that ids are those that C2SP means.
#[test]
fn ids_are_those_of_signed_notes() {
    let key = BASE64_STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let key = PublicKey { key: VerifyingKey::from_bytes(&key[1..].try_into().unwrap()).unwrap() };
    assert_eq!(disk::hex(&key.id("PeterNeumann")), "c74f20a3");
    assert_eq!(key.text_for("PeterNeumann"), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}
