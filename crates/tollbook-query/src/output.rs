//! Answers as bytes: a table for people, JSON, CSV and Parquet for programs, Markdown for pages.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use unicode_width::UnicodeWidthStr;

use crate::answer::Answer;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// An array of objects.
    Json,
    /// One object a line.
    Jsonl,
    /// Comma-separated values with a header; lists and structures as they are shown in a table.
    Csv,
    /// A Parquet file.
    Parquet,
    /// A table that Markdown understands.
    Markdown,
}

/// Writes an answer.
///
/// # Errors
/// Where writing fails, or a value has no text.
pub fn write(answer: &Answer, format: Format, to: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Table => table(answer, to),
        Format::Json => json(answer, to),
        Format::Jsonl => jsonl(answer, to),
        Format::Csv => csv(answer, to),
        Format::Parquet => parquet(answer, to),
        Format::Markdown => markdown(answer, to),
    }
}

fn table(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    draw(answer, visible, to)?;
    let count: usize = answer.batches.iter().map(arrow::record_batch::RecordBatch::num_rows).sum();
    writeln!(to, "{count} {}", if count == 1 { "row" } else { "rows" })
}

/// What would end a cell or a line of the table is escaped.
fn markdown(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    draw(answer, |text| visible(text).replace('\\', "\\\\").replace('|', "\\|"), to)
}

/// Draws the rows as a table. They are made into text twice, first to know how wide the columns are: the texts of a
/// long answer take many times the memory of its rows.
fn draw(answer: &Answer, cell: impl Fn(&str) -> String, to: &mut impl Write) -> io::Result<()> {
    let names: Vec<String> = answer.schema.fields().iter().map(|field| cell(field.name())).collect();
    let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
    rows(answer, "", |row| {
        widths.iter_mut().zip(&row).for_each(|(width, text)| *width = (*width).max(cell(text).width()));
        Ok(())
    })?;
    let columns: Vec<(usize, bool)> = widths
        .into_iter()
        .zip(answer.schema.fields())
        .map(|(width, field)| (width, field.data_type().is_numeric()))
        .collect();
    line(&names, &columns, to)?;
    let rule: Vec<String> = columns.iter().map(|(width, _)| "-".repeat(width + 2)).collect();
    writeln!(to, "|{}|", rule.join("|"))?;
    rows(answer, "", |row| line(&row.iter().map(|text| cell(text)).collect::<Vec<_>>(), &columns, to))
}

/// One line of a table whose columns have these widths, those of numbers flush right.
fn line(texts: &[String], columns: &[(usize, bool)], to: &mut impl Write) -> io::Result<()> {
    for (text, (width, is_number)) in texts.iter().zip(columns) {
        let room = " ".repeat(width.saturating_sub(text.width()));
        let (before, after) = if *is_number { (room.as_str(), "") } else { ("", room.as_str()) };
        write!(to, "| {before}{text}{after} ")?;
    }
    writeln!(to, "|")
}

/// Control characters as escapes: a tool's name is whatever a server says, and not for the terminal to
/// act upon.
fn visible(text: &str) -> String {
    let escaped = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(escaped).collect()
}

fn json(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(&mut *to);
    answer.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(other)?;
    writer.finish().map_err(other)?;
    writeln!(to)
}

fn jsonl(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut *to);
    answer.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(other)?;
    writer.finish().map_err(other)
}

fn parquet(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&answer.schema), None).map_err(io::Error::other)?;
    answer.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(io::Error::other)?;
    writer.close().map_err(io::Error::other)?;
    to.write_all(&bytes)
}

fn csv(answer: &Answer, to: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(answer.schema.fields().iter().map(|field| field.name())).map_err(csv_error)?;
    rows(answer, "", |row| writer.write_record(row).map_err(csv_error))?;
    writer.flush()
}

/// The error of writing behind one of the csv crate, which hides it: whoever stops reading has to be told from a disk
/// that is full.
fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// The rows as texts, null as an empty one.
///
/// # Errors
/// Where a value has no text.
pub fn texts(answer: &Answer) -> io::Result<Vec<Vec<String>>> {
    let mut texts = Vec::new();
    rows(answer, "", |row| {
        texts.push(row);
        Ok(())
    })?;
    Ok(texts)
}

/// The rows as texts, with a word for null.
#[cfg(test)]
pub(crate) fn texts_with_null(answer: &Answer, null: &str) -> io::Result<Vec<Vec<String>>> {
    let mut texts = Vec::new();
    rows(answer, null, |row| {
        texts.push(row);
        Ok(())
    })?;
    Ok(texts)
}

/// Each row as texts.
fn rows(answer: &Answer, null: &str, mut row: impl FnMut(Vec<String>) -> io::Result<()>) -> io::Result<()> {
    let options = FormatOptions::default().with_null(null).with_display_error(false);
    for batch in &answer.batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(other)?;
        for index in 0..batch.num_rows() {
            let texts = columns.iter().map(|column| column.value(index).try_to_string());
            row(texts.collect::<Result<_, _>>().map_err(other)?)?;
        }
    }
    Ok(())
}

fn other(error: ArrowError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::record_batch::RecordBatch;

    use super::*;

    /// Somebody who has heard enough.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_is_told_as_one() {
        let numbers = Arc::new(Int64Array::from_iter_values(0..100_000)) as _;
        let rows = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let answer = Answer { schema: rows.schema(), batches: vec![rows] };
        for format in [Format::Table, Format::Json, Format::Jsonl, Format::Csv, Format::Parquet, Format::Markdown] {
            let error = write(&answer, format, &mut Gone).unwrap_err();
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            let mut found = false;
            while let Some(one) = cause {
                let io = one.downcast_ref::<io::Error>();
                found |= io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe);
                cause = one.source();
            }
            assert!(found, "{format:?}: {error:?}");
        }
    }
}
