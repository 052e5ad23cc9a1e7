use super::*;

#[test]
fn lines_of_every_length_hold() {
    for bytes_max in 0..6 {
        for input in ["", "\n", "a", "abc\n\r\nde", "\n\nabcdefgh\nabcdef", "abcdefghijklmnop"] {
            lines_hold(input.as_bytes(), bytes_max).unwrap();
        }
    }
    assert_eq!(lines_hold(b"a\nbcd\ne", 2), Ok(3));
}
