//! Compiles the code in the project's README, with the doctests. It has nothing for anybody to import.

#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
