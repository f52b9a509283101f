//! Compiles the code in the project's README as doctests. There is nothing to import.

#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
