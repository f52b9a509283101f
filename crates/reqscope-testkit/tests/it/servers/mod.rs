mod subprocess;
mod missing;
mod with_server;
