"""Things to run beside the supervisor: a chat server, the clients that measure it, the demo."""
