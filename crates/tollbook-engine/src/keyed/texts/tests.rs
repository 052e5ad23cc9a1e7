use super::Texts;

#[test]
fn texts_of_any_length_come_back_and_are_told_from_others() {
    let long = "ö".repeat(20) + "xyz";
    let pieces: Vec<&str> = (0..=long.len()).filter_map(|end| long.get(..end)).collect();
    for first in &pieces {
        for second in &pieces {
            let texts = Texts::new(first, second);
            assert_eq!(texts.texts(), (*first, *second));
            assert!(texts.are(first, second));
            assert!(!texts.are(first, &format!("{second}x")) && !texts.are(&format!("{first}x"), second));
            let other = second.replacen('ö', "ä", 1);
            assert_eq!(texts.are(first, &other), other == **second);
        }
    }
}

#[test]
fn two_texts_are_not_their_join() {
    for (first, second) in [("ab", "c"), ("", "abc"), ("abc", "")] {
        assert!(!Texts::new("a", "bc").are(first, second));
    }
    let long = "x".repeat(40);
    assert!(!Texts::new("", &long).are(&long, ""));
}

#[test]
fn it_is_half_a_line_of_the_cache() {
    assert_eq!(size_of::<Texts>(), 32);
}
