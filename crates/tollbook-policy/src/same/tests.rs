use super::same as same_bytes;

fn same(a: &str, b: &str) -> bool {
    same_bytes(a.as_bytes(), b.as_bytes())
}

#[test]
fn texts_of_any_length_differ_by_any_byte() {
    for length in 0..70 {
        let text = "x".repeat(length);
        assert!(same(&text, &text.clone()), "{length} bytes");
        assert!(!same(&text, &format!("{text}x")), "{length} bytes and one more");
        for place in 0..length {
            let mut other = text.clone();
            other.replace_range(place..=place, "y");
            assert!(!same(&text, &other), "{length} bytes, the one at {place} another");
        }
    }
}
