use super::*;
use crate::testing::{decision, framed};

fn segment(events: &[Event]) -> Vec<u8> {
    let mut bytes = header("20261123T064652Z-7f3a9c", events.first().map_or(0, |event| event.seq));
    for event in events {
        framed(&mut bytes, &event.to_bytes());
    }
    bytes
}

fn three() -> (Vec<u8>, Vec<usize>) {
    let events = [decision(5), decision(6), decision(7)];
    let ends = (0..=3).map(|count| if count == 0 { header_len() } else { segment(&events[..count]).len() }).collect();
    (segment(&events), ends)
}

fn header_len() -> usize {
    header("20261123T064652Z-7f3a9c", 5).len()
}

#[test]
fn records_come_back() {
    let (bytes, _) = three();
    let segment = read(&bytes).expect("a segment");
    assert_eq!(segment.instance, "20261123T064652Z-7f3a9c");
    assert_eq!((segment.first_seq, segment.next_seq()), (5, 8));
    assert_eq!(segment.end, SegmentEnd::Clean);
    let events: Vec<_> = segment.records.iter().map(|record| Event::from_bytes(record).expect("a record")).collect();
    assert_eq!(events, [decision(5), decision(6), decision(7)]);
}

#[test]
fn a_segment_cut_at_any_byte_ends_clean_or_torn() {
    let (bytes, ends) = three();
    for cut in 0..bytes.len() {
        match read(&bytes[..cut]) {
            Err(error) => assert!(cut < ends[0], "{error} at {cut}"),
            Ok(segment) => {
                let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
                assert_eq!(segment.records.len(), whole, "at {cut}");
                let at = ends[whole];
                match segment.end {
                    SegmentEnd::Clean => assert_eq!(at, cut),
                    SegmentEnd::Torn { at: torn, why: FrameFault::Short { have, want } } => {
                        assert_eq!((torn, have), (at, cut - at));
                        assert!(want > have);
                    }
                    other => panic!("{other:?} at {cut}"),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (bytes, ends) = three();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            match read(&flipped) {
                Err(_) => assert!(at < ends[0]),
                Ok(segment) => {
                    let frame = ends.iter().filter(|end| **end <= at).count() - 1;
                    assert_eq!(segment.records.len(), frame, "bit {bit} of byte {at}");
                    match segment.end {
                        SegmentEnd::Clean => panic!("bit {bit} of byte {at} went unseen"),
                        SegmentEnd::Torn { .. } => assert_eq!(frame, 2),
                        SegmentEnd::Damaged { at, good_at, .. } => {
                            assert_eq!((at, good_at), (ends[frame], ends[frame + 1]));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_frame_are_a_torn_end() {
    let (mut bytes, ends) = three();
    bytes.extend([0; 4096]);
    let segment = read(&bytes).expect("a segment");
    assert_eq!(segment.records.len(), 3);
    assert_eq!(segment.end, SegmentEnd::Torn { at: ends[3], why: FrameFault::Length(0) });
}

#[test]
fn a_record_out_of_order_is_damage() {
    let bytes = segment(&[decision(5), decision(7)]);
    let segment = read(&bytes).expect("a segment");
    assert_eq!(segment.records.len(), 1);
    assert!(matches!(segment.end, SegmentEnd::Damaged { why: FrameFault::Sequence { found: 7, expected: 6 }, .. }));
}

#[test]
fn a_newer_format_is_refused() {
    let (mut bytes, _) = three();
    bytes[8] = 2;
    let error = read(&bytes).expect_err("a newer format");
    assert_eq!(error.to_string(), "the segment has format 2; this version reads formats up to 1");
}

#[test]
fn something_else_is_refused() {
    assert_eq!(read(b"PAR1 and so on and so on and so on"), Err(HeaderError::NotASegment));
    assert_eq!(read(b""), Err(HeaderError::Short(0)));
}

#[test]
fn a_record_beyond_the_bound_has_no_frame() {
    let mut out = Vec::new();
    framed(&mut out, &[0]);
    let before = out.clone();
    for bytes in [0, FRAME_BYTES_MAX + 1] {
        assert_eq!(frame_into(&mut out, |out| out.resize(out.len() + bytes, 0)), Err(bytes));
        assert_eq!(out, before, "what was there stays, and nothing else");
    }
    assert_eq!(frame_into(&mut out, |out| out.extend([1, 2])), Ok(17..19));
}

#[test]
fn a_segment_that_claims_the_last_numbers_is_read_without_overflow() {
    let mut bytes = header("i", u64::MAX);
    framed(&mut bytes, &Event { seq: u64::MAX, ..decision(0) }.to_bytes());
    framed(&mut bytes, &decision(0).to_bytes());
    let segment = read(&bytes).expect("a segment");
    assert_eq!((segment.records.len(), segment.next_seq()), (1, u64::MAX));
    assert!(matches!(segment.end, SegmentEnd::Damaged { why: FrameFault::Sequence { found: 0, .. }, .. }));
}
