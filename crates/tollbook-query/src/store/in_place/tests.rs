use datafusion::object_store::ObjectStoreExt;

use super::*;

/// What the library's own store gives, byte for byte; and no less than was asked for where a file has been cut.
#[tokio::test]
async fn it_reads_what_the_library_reads() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file.parquet");
    let bytes: Vec<u8> = (0..5_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    std::fs::write(&file, &bytes).unwrap();
    let (ours, theirs) = (InPlace::default(), LocalFileSystem::new());
    let place = Path::from_absolute_path(&file).unwrap();
    let ranges = [0..0, 0..5_000, 17..18, 4_990..5_000, 100..4_000];
    for range in &ranges {
        let (read, expect) =
            (ours.get_range(&place, range.clone()).await, theirs.get_range(&place, range.clone()).await);
        match expect {
            Ok(expect) => assert_eq!(read.unwrap(), expect, "{range:?}"),
            // Nothing is no range to the library.
            Err(_) => assert!(range.is_empty() && read.unwrap().is_empty(), "{range:?}"),
        }
    }
    assert_eq!(ours.get_ranges(&place, &ranges).await.unwrap(), theirs.get_ranges(&place, &ranges).await.unwrap());
    assert_eq!(ours.get(&place).await.unwrap().bytes().await.unwrap(), bytes);
    let range = GetOptions { range: Some(GetRange::Bounded(1..9)), ..GetOptions::default() };
    assert_eq!(ours.get_opts(&place, range).await.unwrap().meta.size, 5_000);

    std::fs::write(&file, &bytes[..3_000]).unwrap();
    let cut = ours.get_range(&place, 100..4_000).await.unwrap_err().to_string();
    assert!(cut.contains("a file.parquet"), "{cut}");
    assert!(ours.get_ranges(&place, &[0..10, 100..4_000]).await.is_err());
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(ours.get_range(&place, 0..1).await, Err(Error::NotFound { .. })));
    assert!(matches!(ours.get_ranges(&place, &ranges).await, Err(Error::NotFound { .. })));
}
