//! The log: canonical records while open, Parquet once sealed.

pub mod schema;
pub mod segment;

mod layout;
mod rows;

#[cfg(test)]
mod testing;

pub use rows::RowsError;
