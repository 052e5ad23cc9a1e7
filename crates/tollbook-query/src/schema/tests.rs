use super::{docs, schema};

#[tokio::test]
async fn every_column_is_documented_and_nothing_else_is() {
    let tables = schema().await.unwrap();
    assert_eq!(tables.len(), 9);
    for table in tables {
        let found: Vec<&str> = table.columns.iter().map(|column| column.0.as_str()).collect();
        let docs = docs(table.name);
        let told: Vec<&str> = docs.iter().map(|doc| doc.name).collect();
        assert_eq!(found, told, "{}", table.name);
        for (name, _, meaning) in &table.columns {
            assert!(meaning.ends_with('.'), "{}.{name}: {meaning}", table.name);
            for (unit, word) in
                [("_us", "microseconds"), ("_ns", "nanoseconds"), ("_bytes", "bytes"), ("_s", "seconds")]
            {
                assert!(!name.ends_with(unit) || meaning.contains(word), "{}.{name}: {meaning}", table.name);
            }
        }
    }
}
