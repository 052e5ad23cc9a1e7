//! SQL over a log: one DataFusion session, tables, functions and named reports.
