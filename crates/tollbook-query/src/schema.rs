//! What each table and column means.

use std::sync::Arc;

use tollbook_log::schema::Kind;

use crate::session::{QueryError, Session};
use crate::{backtest, loops, rates, table};

/// A column's name and meaning, with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Doc {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
}

impl Doc {
    pub(crate) const fn new(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning }
    }
}

/// A table or a table function, as `tollbook schema` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDoc {
    /// What stands behind FROM; a function ends in `()`.
    pub name: &'static str,
    /// What one row is.
    pub meaning: &'static str,
    /// Name, type and meaning of each column, in order.
    pub columns: Vec<(String, String, &'static str)>,
}

const TABLES: &[(&str, &str)] = &[
    ("calls", "One row for each call, sealed and open together, with its outcome."),
    ("limits", "One row for each limit that a call met."),
    ("sessions", "One row for each session of each instance."),
    ("policies", "One row for each policy that a log holds."),
    ("outcomes", "Outcomes that came after their call was sealed; they are in calls too."),
    ("events", "What else a replay needs."),
    ("backtest()", "One row for each call that a policy judges anew: backtest('candidate.toll')."),
    ("loops()", "One row for each loop: a block of 1 to 8 equal calls that follows itself at least 3 times."),
    (
        "rates()",
        "How many calls there were in a window: rates('minute', 'tool') has one row for each tool. Windows are second, \
         minute, hour, day and week; behind the window stand columns of calls, none or several.",
    ),
];

/// The column that says which log, which every table has.
pub(crate) const LOG: Doc = Doc::new("log", "The log's directory, as it was named.");
const CATEGORY: Doc = Doc::new(
    "category",
    "What the tool does: read, write, execute, destructive or financial. Null where it isn't told.",
);
const ARGS: Doc = Doc::new(
    "args",
    "JSON text of what was kept of the arguments; see args_kept. args->>'amount' is one of them as text, \
     args->'customer'->>'id' or json_get_str(args, 'customer', 'id') one inside of another, json_get_int, \
     json_get_float and json_get_bool have its type, and args ? 'amount' says whether it is there. Where the paths \
     that the policy reads were kept, each is one key: args->>'args.customer.id'.",
);

fn docs(table: &str) -> Vec<Doc> {
    let kept = |kind: Kind| kind.columns().iter().map(|column| Doc::new(column.name, column.doc));
    match table {
        "calls" => kept(Kind::Calls).map(as_sql_sees_it).chain([LOG]).collect(),
        "outcomes" => kept(Kind::Outcomes).chain([LOG]).collect(),
        "events" => kept(Kind::Events).chain([LOG]).collect(),
        "limits" => table::limits(),
        "sessions" => table::SESSIONS.to_vec(),
        "policies" => table::POLICIES.to_vec(),
        "backtest()" => backtest::COLUMNS.to_vec(),
        "loops()" => loops::COLUMNS.to_vec(),
        _ => rates::COLUMNS.to_vec(),
    }
}

/// Of some columns of `calls` SQL knows more than the files.
fn as_sql_sees_it(column: Doc) -> Doc {
    [ARGS, CATEGORY].into_iter().find(|known| known.name == column.name).unwrap_or(column)
}

/// What every table holds.
///
/// # Errors
/// Where a table can't be planned, which would be a mistake of this crate.
pub async fn schema() -> Result<Vec<TableDoc>, QueryError> {
    let options = crate::Options { backtest: Some(Arc::new(Nobody)), ..crate::Options::default() };
    let session = Session::open(Vec::new(), options).await?;
    let mut tables = Vec::new();
    for (name, meaning) in TABLES {
        let from = match *name {
            "backtest()" => "backtest('candidate.toll')",
            "rates()" => "rates('minute', 'tool')",
            other => other,
        };
        let answer = session.ask(&format!("SELECT * FROM {from} LIMIT 0")).await?;
        let docs = docs(name);
        let columns = Arc::clone(&answer.schema);
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let doc = docs.iter().find(|doc| doc.name == field.name());
            (field.name().clone(), short(field.data_type()), doc.map_or("", |doc| doc.meaning))
        };
        tables.push(TableDoc { name, meaning, columns: columns.fields().iter().map(column).collect() });
    }
    Ok(tables)
}

/// Judges nothing: the columns alone are asked for.
#[derive(Debug)]
struct Nobody;

impl crate::Backtest for Nobody {
    fn judge(
        &self,
        _: &str,
        _: &tollbook_log::Reader,
        _: &mut dyn FnMut(crate::Rejudged) -> bool,
    ) -> Result<(), String> {
        Ok(())
    }
}

/// A type in SQL's words.
fn short(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(_, _) => "timestamp (µs, UTC)".to_owned(),
        DataType::Duration(_) => "duration (µs)".to_owned(),
        DataType::Decimal128(digits, places) => format!("decimal({digits}, {places})"),
        DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)) => {
            "list of rows, see limits".to_owned()
        }
        DataType::List(item) => format!("list of {}", short(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
