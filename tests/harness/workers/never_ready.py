"""Starts, and never accepts a connection."""

import signal

print("waiting for the database", flush=True)
signal.pause()
