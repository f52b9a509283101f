mod again;
mod missing;
mod with_server;
