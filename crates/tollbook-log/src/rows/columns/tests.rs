use proptest::prelude::*;

use super::*;
use crate::schema::calls;

fn hashes(values: StringArray) -> Hashes {
    Hashes::new(Texts { column: calls::ARGS_HASH, values, keys: None })
}

/// Whether all stand in one piece or one of them isn't a hash, a row has its own or says what is wrong with it.
fn check(texts: &[Option<String>], from: usize) {
    let array = StringArray::from(texts.to_vec());
    let read = hashes(array.slice(from, texts.len() - from));
    for (row, text) in texts.iter().skip(from).enumerate() {
        // What the row before left there.
        let mut found = Some(Hash128([9; 16]));
        let filled = read.fill(row, 5, &mut found);
        match text {
            None => assert!(filled.is_ok() && found.is_none(), "{texts:?} {row}"),
            Some(text) => match from_hex(text.as_bytes()) {
                Some(hash) => assert!(filled.is_ok() && found == Some(Hash128(hash)), "{texts:?} {row}"),
                None => assert!(filled.unwrap_err().to_string().contains(text), "{texts:?} {row}"),
            },
        }
    }
}

proptest! {
    #[test]
    fn a_row_has_its_own_hash(
        texts in proptest::collection::vec(
            prop_oneof![
                8 => "[0-9a-f]{32}".prop_map(Some),
                2 => Just(None),
                1 => "[0-9a-fA-F]{28,36}".prop_map(Some),
                1 => "(0x)?[0-9a-g]{30,32}".prop_map(Some),
            ],
            0..12,
        ),
        from in 0..12_usize,
    ) {
        let from = from.min(texts.len());
        check(&texts, from);
        // Those that are hashes, all in one piece.
        let whole = |text: &&Option<String>| text.as_ref().is_none_or(|text| text.len() == 32 && !text.contains(['g', 'x']));
        let texts: Vec<_> = texts.iter().filter(whole).cloned().collect();
        check(&texts, from.min(texts.len()));
    }
}

/// Texts of other lengths whose digits are as many as hashes have.
#[test]
fn digits_that_are_cut_elsewhere_are_no_hashes() {
    for (first, second) in [(31, 33), (30, 34), (0, 64), (32, 32), (16, 48)] {
        check(&[Some("a".repeat(first)), Some("b".repeat(second)), Some("c".repeat(32))], 0);
    }
}
