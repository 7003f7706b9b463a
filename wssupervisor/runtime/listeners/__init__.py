"""Listening sockets: acquired, steered, watched, and never closed while the instance runs."""
