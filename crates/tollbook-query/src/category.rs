//! `category(tool, args)`: what a call does, by somebody's word.
//!
//! This crate knows no tools. Whoever opens a session brings the judgement along; without one, the
//! category is null.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// Tells what calls do.
pub trait Categories: Debug + Send + Sync {
    /// The category of a call of this tool, with these arguments as far as they were kept (JSON).
    fn category(&self, tool: &str, args: Option<&str>) -> Option<&'static str>;

    /// The category that goes before the one that was recorded with the call.
    fn overridden(&self, tool: &str, args: Option<&str>) -> Option<&'static str>;
}

/// The function of SQL.
pub(crate) fn function(categories: Option<Arc<dyn Categories>>) -> ScalarUDF {
    told("category", categories, |categories, tool, args| categories.category(tool, args))
}

/// What the user says, null where that is nothing.
pub(crate) fn overridden(categories: Option<Arc<dyn Categories>>) -> ScalarUDF {
    told("category_overridden", categories, |categories, tool, args| categories.overridden(tool, args))
}

fn told(
    name: &'static str,
    categories: Option<Arc<dyn Categories>>,
    tell: fn(&dyn Categories, &str, Option<&str>) -> Option<&'static str>,
) -> ScalarUDF {
    let invoke = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [tools, args] = arrays.as_slice() else { return exec_err!("{name}(tool, args) takes two arguments") };
        let (Some(tools), Some(args)) = (tools.as_string_opt::<i32>(), args.as_string_opt::<i32>()) else {
            return exec_err!("{name}(tool, args) takes two texts");
        };
        let rows = (0..tools.len()).map(|row| {
            let args = args.is_valid(row).then(|| args.value(row));
            tell(categories.as_deref().filter(|_| tools.is_valid(row))?, tools.value(row), args)
        });
        Ok(ColumnarValue::Array(Arc::new(rows.collect::<StringArray>()) as ArrayRef))
    };
    create_udf(name, vec![DataType::Utf8; 2], DataType::Utf8, Volatility::Immutable, Arc::new(invoke))
}
