use super::*;

#[test]
fn a_note_opens_with_its_key_and_name_alone() {
    let (signer, other) = (Signer::from_secret(&[1; 32]), Signer::from_secret(&[2; 32]));
    let note = sign("one\n\ntwo\n", "tollbook/i", &signer);
    let keys = [other.public(), signer.public()];
    assert_eq!(open(&note, "tollbook/i", &keys), Some("one\n\ntwo\n"));
    assert_eq!(open(&note, "tollbook/j", &keys), None);
    assert_eq!(open(&note, "tollbook/i", &keys[..1]), None);
    let witnessed = format!("{note}— witness.example/w AAAA\n");
    assert_eq!(open(&witnessed, "tollbook/i", &keys), Some("one\n\ntwo\n"));
}

#[test]
fn a_note_with_any_other_byte_is_not_signed() {
    let signer = Signer::from_secret(&[1; 32]);
    let note = sign("tollbook/i\n7\n", "tollbook/i", &signer);
    let bytes = note.as_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            let opened = String::from_utf8(flipped)
                .is_ok_and(|flipped| open(&flipped, "tollbook/i", &[signer.public()]).is_some());
            assert!(!opened, "bit {bit} of byte {at}");
        }
    }
    for cut in 0..bytes.len() {
        assert_eq!(
            std::str::from_utf8(&bytes[..cut]).ok().and_then(|cut| open(cut, "tollbook/i", &[signer.public()])),
            None
        );
    }
}
