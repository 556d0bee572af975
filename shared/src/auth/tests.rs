//! The layer over a table of callers.
