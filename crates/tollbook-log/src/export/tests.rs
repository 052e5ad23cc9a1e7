use super::*;
use crate::testing::{decided, ended};
use crate::{Log, Options};

/// Three calls a second apart, the first with an outcome that came after it was sealed.
fn reader(dir: &std::path::Path) -> Reader {
    let (log, _) = Log::open(dir, Options { seal_events_max: 2, ..Options::default() }).unwrap();
    for n in 0..3 {
        log.append(n * 1_000_000, decided(&format!("tool,{n}"))).unwrap();
    }
    log.append(3_000_000, ended(0)).unwrap();
    log.close().unwrap();
    Reader::open(&[dir]).unwrap()
}

fn text(reader: &Reader, format: Format, range: TimeRange) -> (u64, Vec<u8>) {
    let mut out = Vec::new();
    let choice = Choice { range, named: None };
    let calls = export(reader, format, &choice, &mut out).unwrap();
    (calls, out)
}

#[test]
fn jsonl_has_every_call_of_the_range_with_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    let (calls, out) = text(&reader, Format::Jsonl, TimeRange::default());
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((calls, lines.len()), (3, 3));
    assert_eq!((&lines[0]["outcome"], &lines[0]["done_seq"]), (&"ok".into(), &3.into()));
    assert_eq!((&lines[1]["outcome"], &lines[1]["ts"]), (&serde_json::Value::Null, &"1970-01-01T00:00:01Z".into()));
    assert_eq!(lines[0].as_object().unwrap().len(), Kind::Calls.columns().len());
    let range = TimeRange { from_us: Some(1_000_000), to_us: Some(2_000_000) };
    assert_eq!(text(&reader, Format::Jsonl, range).0, 1);
}

#[test]
fn csv_has_a_header_and_lists_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    let (_, out) = text(&reader, Format::Csv, TimeRange::default());
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("instance,seq,ts,"), "{}", lines[0]);
    assert!(lines[1].contains("\"tool,0\"") && lines[1].contains(",[],"), "{}", lines[1]);
    assert_eq!(lines.len(), 4);
    let nothing = TimeRange { from_us: Some(i64::MAX), to_us: None };
    assert_eq!(String::from_utf8(text(&reader, Format::Csv, nothing).1).unwrap().lines().count(), 1);
}

#[test]
fn parquet_gives_the_same_calls_again() {
    let dir = tempfile::tempdir().unwrap();
    let reader = reader(dir.path());
    let (_, out) = text(&reader, Format::Parquet, TimeRange::default());
    let path = dir.path().join("out.parquet");
    std::fs::write(&path, out).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let batches =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let calls: Vec<CallEvent> = batches.flat_map(|batch| rows::call_events(&batch.unwrap()).unwrap()).collect();
    let tools: Vec<_> = calls.iter().map(|(event, done)| (event.seq, done.as_ref().map(|done| done.seq))).collect();
    assert_eq!(tools, [(0, Some(3)), (1, None), (2, None)]);
}
