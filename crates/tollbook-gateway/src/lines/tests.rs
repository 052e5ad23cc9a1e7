use super::*;

/// The lines of a stream that comes in pieces of so many bytes.
fn read(text: &str, line_bytes_max: usize, piece: usize) -> Vec<String> {
    let mut lines = Lines::new(line_bytes_max);
    let mut told = Vec::new();
    for piece in text.as_bytes().chunks(piece) {
        lines.push(piece);
        tell(&mut lines, &mut told);
    }
    lines.end();
    tell(&mut lines, &mut told);
    told
}

fn tell(lines: &mut Lines, told: &mut Vec<String>) {
    told.extend(lines.whole().into_iter().map(|line| match line {
        Line::Frame(frame) => String::from_utf8(frame.to_vec()).unwrap(),
        Line::TooLong { bytes } => format!("too long: {bytes}"),
    }));
    lines.take();
}

#[test]
fn lines_are_read_as_they_came_however_they_come_and_long_ones_are_skipped() {
    for piece in 1..20 {
        assert_eq!(read("a\r\n\n12345\nb", 5, piece), ["a\r\n", "\n", "12345\n", "b"], "{piece}");
        assert_eq!(read("a\n123456\n\n12345", 5, piece), ["a\n", "too long: 7", "\n", "12345"], "{piece}");
        assert_eq!(read("a\n0123456789", 5, piece), ["a\n", "too long: 10"], "{piece}");
        assert_eq!(read("0123456789abcdef\nb\n", 5, piece), ["too long: 17", "b\n"], "{piece}");
        assert_eq!(read("", 5, piece), Vec::<String>::new(), "{piece}");
    }
}

/// A stream may send one that never ends.
#[test]
fn of_a_line_that_is_too_long_nothing_is_held() {
    let mut lines = Lines::new(1000);
    for _ in 0..10_000 {
        assert_eq!(lines.whole(), []);
        lines.push(&[b'x'; 700]);
        lines.take();
        assert!(lines.bytes.len() <= 1000);
    }
    assert!(lines.goes_on_too_long());
    lines.push(b"\nb\n");
    assert!(!lines.goes_on_too_long());
    assert_eq!(lines.whole(), [Line::TooLong { bytes: 7_000_001 }, Line::Frame(b"b\n")]);
}

#[test]
fn a_pipe_is_read_to_its_end() {
    let (from, to) = std::io::pipe().unwrap();
    let mut lines = Lines::new(10);
    rustix::io::write(&to, b"one\ntwo\nth").unwrap();
    assert!(lines.fill(&from).unwrap());
    assert_eq!(lines.whole(), [Line::Frame(b"one\n"), Line::Frame(b"two\n")]);
    lines.take();
    drop(to);
    assert!(!lines.fill(&from).unwrap());
    assert_eq!(lines.whole(), [Line::Frame(b"th")]);
}
