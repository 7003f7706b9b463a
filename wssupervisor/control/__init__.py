"""How wssctl and the daemon talk: JSON lines over an AF_UNIX socket."""
