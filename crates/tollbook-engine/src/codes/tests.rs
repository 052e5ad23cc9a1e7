use super::*;

fn code(since_seq: u64, number: u32) -> Code {
    Code { since_seq, number }
}

#[test]
fn what_is_kept_is_found_until_other_numbers_come() {
    let mut coded = Coded::new(u32::MAX);
    assert_eq!(coded.get(code(0, 0)), u32::MAX);
    coded.keep(code(5, 3), 30);
    coded.keep(code(5, 1), 10);
    assert_eq!([0, 1, 2, 3, 4].map(|number| coded.get(code(5, number))), [u32::MAX, 10, u32::MAX, 30, u32::MAX]);
    assert_eq!(coded.get(code(6, 3)), u32::MAX);
    coded.keep(code(6, 1), 11);
    assert_eq!([1, 3].map(|number| coded.get(code(6, number))), [11, u32::MAX]);
    assert_eq!(coded.get(code(5, 1)), u32::MAX);
    coded.forget();
    assert_eq!(coded.get(code(6, 1)), u32::MAX);
}

#[test]
fn large_numbers_take_no_memory() {
    let mut coded = Coded::new(0_u64);
    coded.keep(code(1, u32::MAX), 1);
    assert_eq!(coded.get(code(1, u32::MAX)), 0);
    assert!(coded.kept.is_empty());
}
