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
    (0..OTHERS_MAX).for_each(|_| coded.keep(code(6, 1), 11));
    assert_eq!([1, 3].map(|number| coded.get(code(6, number))), [11, u32::MAX]);
    assert_eq!(coded.get(code(5, 1)), u32::MAX);
    coded.forget();
    assert_eq!(coded.get(code(6, 1)), u32::MAX);
}

/// Numbers of two files that come by turns: those of one are found, and room is made anew but once in a while.
#[test]
fn others_that_come_now_and_then_take_nobodys_place() {
    let mut coded = Coded::new(0);
    let (mut found, mut begun) = (0, 0);
    for round in 0..10 * OTHERS_MAX {
        let before = coded.since_seq;
        for since_seq in [1, 9] {
            let code = code(since_seq, round % 5);
            match coded.get(code) {
                0 => coded.keep(code, since_seq),
                kept => {
                    assert_eq!(kept, since_seq);
                    found += 1;
                }
            }
        }
        begun += u32::from(coded.since_seq != before);
    }
    assert!(begun <= 12 && found > 9 * OTHERS_MAX, "{begun} {found}");
}

#[test]
fn large_numbers_take_no_memory() {
    let mut coded = Coded::new(0_u64);
    coded.keep(code(1, u32::MAX), 1);
    assert_eq!(coded.get(code(1, u32::MAX)), 0);
    assert!(coded.kept.is_empty());
}
