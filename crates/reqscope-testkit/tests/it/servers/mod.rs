mod with_server;
