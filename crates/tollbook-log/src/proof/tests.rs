use std::sync::Arc;

use super::*;
use crate::testing::{decided, ended};
use crate::{Log, Options, Signer};

fn log(dir: &Path, events: u64) -> (String, PublicKey) {
    let signer = Arc::new(Signer::from_secret(&[1; 32]));
    let public = signer.public();
    let (log, _) = Log::open(dir, Options { signer: Some(signer), ..Options::default() }).unwrap();
    for n in 0..events {
        log.append(7, if n % 2 == 1 { ended(n - 1) } else { decided("a") }).unwrap();
    }
    let name = log.instance().to_owned();
    log.close().unwrap();
    (name, public)
}

#[test]
fn every_record_can_be_proven_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (name, key) = log(dir.path(), 7);
    let all = crate::testing::all_events(dir.path()).remove(0).1;
    for event in &all {
        let proof = prove(dir.path(), None, event.seq).unwrap();
        let (proven, head) = proof.check(&[key]).unwrap();
        assert_eq!((&proven, head.size, &head.instance), (event, 7, &name));
        let moved = Proof { seq: (event.seq + 1) % 7, ..proof.clone() };
        assert!(moved.check(&[key]).is_err());
        let other = BASE64_STANDARD.encode(all[(usize::try_from(event.seq).unwrap() + 1) % 7].to_bytes());
        let swapped = Proof { record: other, ..proof.clone() };
        assert_eq!(swapped.check(&[key]), Err(ProofFault::NotIncluded { seq: event.seq }));
        let strange = Signer::from_secret(&[2; 32]).public();
        assert_eq!(proof.check(&[strange]), Err(ProofFault::Signature));
        assert_eq!(Proof { format: 2, ..proof }.check(&[key]), Err(ProofFault::Newer(2)));
    }
}

#[test]
fn what_cannot_be_proven_says_why() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(prove(dir.path(), None, 0), Err(ProveError::NoHeads(_))));
    let (name, _) = log(dir.path(), 2);
    let error = prove(dir.path(), None, 2).unwrap_err().to_string();
    assert_eq!(error, format!("event 2 isn't covered: the last head of `{name}` covers 2 events"));
    let (second, _) = log(dir.path(), 2);
    assert!(matches!(prove(dir.path(), None, 0), Err(ProveError::WhichInstance(names)) if names.len() == 2));
    prove(dir.path(), Some(&second), 0).unwrap();
    // The head of the one for the records of the other.
    std::fs::copy(checkpoint::path(dir.path(), &name), checkpoint::path(dir.path(), &second)).unwrap();
    prove(dir.path(), Some(&second), 0).unwrap();
    let (third, _) = log(dir.path(), 4);
    std::fs::copy(checkpoint::path(dir.path(), &third), checkpoint::path(dir.path(), &name)).unwrap();
    assert!(matches!(prove(dir.path(), Some(&name), 0), Err(ProveError::Tampered(_))));
}
