//! What needs a database server: each of these starts a private one, or has the program start it.
mod axum_mysql;
mod storm;
