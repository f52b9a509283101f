//! Tests that need a database server. Each starts a private one, or has the program start it.
mod axum_mysql;
mod storm;
