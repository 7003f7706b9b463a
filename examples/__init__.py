"""Programs to run with the supervisor: a chat server, clients that measure it, and the demo."""
