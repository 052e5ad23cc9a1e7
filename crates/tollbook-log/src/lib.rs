//! The log: canonical records while open, Parquet once sealed.
