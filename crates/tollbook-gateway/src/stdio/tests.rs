use super::*;

#[test]
fn lines_are_read_as_they_came_and_long_ones_are_skipped() {
    let long = "x".repeat(FRAME_BYTES_MAX + 10);
    let text = format!("a\r\n\n{long}\nlast");
    let mut client = BufReader::new(text.as_bytes());
    let mut next = || {
        let mut frame = Vec::new();
        match read_frame(&mut client, &mut frame).unwrap() {
            Line::Frame => String::from_utf8(frame).unwrap(),
            Line::TooLong { bytes } => format!("too long: {}", bytes - FRAME_BYTES_MAX),
            Line::End => "end".to_owned(),
        }
    };
    assert_eq!([next(), next(), next(), next(), next()], ["a\r\n", "\n", "too long: 11", "last", "end"]);
}

#[test]
fn a_line_of_just_the_most_bytes_is_taken() {
    let text = format!("{}\n", "x".repeat(FRAME_BYTES_MAX));
    let mut frame = Vec::new();
    let mut client = BufReader::new(text.as_bytes());
    assert!(matches!(read_frame(&mut client, &mut frame).unwrap(), Line::Frame));
    assert_eq!(frame.len(), text.len());
    frame.clear();
    assert!(matches!(read_frame(&mut client, &mut frame).unwrap(), Line::End));
}
