//! `category(tool, args)`: what a call does, by somebody's word.
//!
//! This crate knows no tools. Whoever opens a session brings the judgement along; without one, the
//! category is null.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// Tells what calls do.
pub trait Categories: Debug + Send + Sync {
    /// The category of a call of this tool, with these arguments as far as they were kept (JSON).
    fn category(&self, tool: &str, args: Option<&str>) -> Option<&'static str>;

    /// The category that goes before the one that was recorded with the call.
    fn overridden(&self, tool: &str, args: Option<&str>) -> Option<&'static str>;

    /// Whether anything is ever overridden; if not, what was recorded needs no second look.
    fn overrides(&self) -> bool;

    /// Whether arguments are ever looked at; if not, they need not be read.
    fn looks_at_args(&self) -> bool;
}

/// The function of SQL.
pub(crate) fn function(categories: Option<Arc<dyn Categories>>) -> ScalarUDF {
    let invoke = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [tools, args] = arrays.as_slice() else { return exec_err!("category(tool, args) takes two arguments") };
        let (tools, args) = (text(tools)?, text(args)?);
        let rows = (0..tools.len()).map(|row| categories.as_deref()?.category(value(tools, row)?, value(args, row)));
        Ok(ColumnarValue::Array(Arc::new(rows.collect::<StringArray>()) as ArrayRef))
    };
    create_udf("category", vec![DataType::Utf8; 2], DataType::Utf8, Volatility::Immutable, Arc::new(invoke))
}

/// The function of (recorded category, tool, args) that gives the category by the user's word, or else as it was
/// recorded, or else as it is told now.
pub(crate) fn judged(categories: Arc<dyn Categories>) -> ScalarUDF {
    let invoke = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [recorded, tools, args] = arrays.as_slice() else { return exec_err!("a call has a tool and arguments") };
        if recorded.null_count() == 0 && !categories.overrides() {
            return Ok(ColumnarValue::Array(Arc::clone(recorded)));
        }
        let (recorded, tools, args) = (view(recorded)?, view(tools)?, view(args)?);
        let row = |row| {
            let tool = at(tools, row);
            let overridden = tool.and_then(|tool| categories.overridden(tool, at(args, row)));
            overridden.or(at(recorded, row)).or_else(|| categories.category(tool?, at(args, row)))
        };
        Ok(ColumnarValue::Array(Arc::new((0..recorded.len()).map(row).collect::<StringViewArray>()) as ArrayRef))
    };
    create_udf(
        "category_judged",
        vec![DataType::Utf8View; 3],
        DataType::Utf8View,
        Volatility::Immutable,
        Arc::new(invoke),
    )
}

fn text(column: &ArrayRef) -> Result<&StringArray> {
    column.as_string_opt::<i32>().map_or_else(|| exec_err!("a category is told of texts"), Ok)
}

fn value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn view(column: &ArrayRef) -> Result<&StringViewArray> {
    column.as_string_view_opt().map_or_else(|| exec_err!("a call's texts are views"), Ok)
}

fn at(column: &StringViewArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}
