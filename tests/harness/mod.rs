//! (being built)
pub mod snapback;
