use proptest::prelude::*;

use super::*;
use crate::disk::hex;

/// The definition of RFC 6962, section 2.1, word for word.
fn defined(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let mut k = 1;
            while 2 * k < many.len() {
                k *= 2;
            }
            node(&defined(&many[..k]), &defined(&many[k..]))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf(&n.to_le_bytes())).collect()
}

/// The vectors of Certificate Transparency's own tests.
#[test]
fn roots_are_those_of_certificate_transparency() {
    let records: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let root = |count: usize| hex(&Tree::of(records[..count].iter().copied()).root());
    assert_eq!(root(0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(root(1), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    assert_eq!(root(3), "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
    assert_eq!(root(8), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn every_leaf_of_every_small_tree_has_a_path_and_no_other_leads_there() {
    for size in 1..40 {
        let leaves = leaves(size);
        for index in 0..size {
            let mut all = leaves.iter().map(|leaf| Ok::<_, ()>(*leaf));
            let (path, root) = inclusion(&Tree::default(), &mut all, index, size).unwrap().unwrap();
            assert_eq!(root, defined(&leaves));
            let at = usize::try_from(index).unwrap();
            assert_eq!(root_from_path(leaves[at], index, size, &path), Some(root));
            for other in (0..size).filter(|other| *other != index) {
                assert_ne!(root_from_path(leaves[at], other, size, &path), Some(root));
            }
            if let Some((_, shorter)) = path.split_last() {
                assert_ne!(root_from_path(leaves[at], index, size, shorter), Some(root));
            }
            let longer: Vec<Hash> = path.iter().copied().chain([leaf(b"")]).collect();
            assert_eq!(root_from_path(leaves[at], index, size, &longer), None);
        }
    }
    let mut few = leaves(3).into_iter().map(Ok::<_, ()>);
    assert_eq!(inclusion(&Tree::default(), &mut few, 0, 4), Ok(None));
    assert_eq!(root_from_path(leaf(b""), 4, 4, &[]), None);
    assert_eq!(root_from_path(leaf(b""), 0, 0, &[]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_growing_tree_has_the_defined_root(count in 0_u64..3000) {
        let leaves = leaves(count);
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        prop_assert_eq!(tree.size(), count);
        prop_assert_eq!(tree.root(), defined(&leaves));
    }
}
