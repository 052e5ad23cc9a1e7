use super::*;

fn check(json: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(DIR)).unwrap();
    std::fs::write(dir.path().join(DIR).join("i.json"), json).unwrap();
    let error = Manifest::load(dir.path(), "i").expect_err("no manifest");
    error.to_string().replace(&dir.path().display().to_string(), "LOG")
}

#[test]
fn a_manifest_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Manifest::load(dir.path(), "i").unwrap(), None);
    let mut manifest = Manifest::new("i");
    let file = SealedFile { kind: Kind::Calls, path: "calls/x".into(), rows: 3, bytes: 9, sha256: "00".into() };
    manifest.ranges.push(SealedRange { first_seq: 0, last_seq: 6, root: None, files: vec![file] });
    manifest.store(dir.path(), None).unwrap();
    assert_eq!(Manifest::load(dir.path(), "i").unwrap().as_ref(), Some(&manifest));
    assert_eq!((manifest.next_seq(), Manifest::new("i").next_seq()), (7, 0));
}

#[test]
fn what_is_no_manifest_is_named() {
    assert_eq!(check("{"), "`LOG/manifests/i.json` isn't a manifest");
    assert_eq!(
        check(r#"{"format":2,"new":1}"#),
        "`LOG/manifests/i.json` has format 2; this version reads formats up to 1"
    );
    assert_eq!(
        check(r#"{"format":1,"instance":"j","ranges":[]}"#),
        "`LOG/manifests/i.json` is damaged: it is of the instance `j`"
    );
}

#[test]
fn a_manifest_cannot_lead_out_of_the_log() {
    for path in ["../x", "/etc/passwd", "calls/../../x", ""] {
        let file = format!(r#"{{"kind":"calls","path":"{path}","rows":0,"bytes":0,"sha256":""}}"#);
        let json =
            format!(r#"{{"format":1,"instance":"i","ranges":[{{"first_seq":0,"last_seq":0,"files":[{file}]}}]}}"#);
        assert!(check(&json).ends_with(&format!("the path `{path}` leads out of the log")));
    }
}

#[test]
fn ranges_are_in_order() {
    let range = |first, last| format!(r#"{{"first_seq":{first},"last_seq":{last},"files":[]}}"#);
    for ranges in [range(4, 3), format!("{},{}", range(0, 3), range(3, 4)), range(0, u64::MAX)] {
        let error = check(&format!(r#"{{"format":1,"instance":"i","ranges":[{ranges}]}}"#));
        assert!(error.ends_with("is out of order"), "{error}");
    }
}
