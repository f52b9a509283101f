//! Promises of the adapter. What needs a server stands in `with_server`.

mod with_server;
