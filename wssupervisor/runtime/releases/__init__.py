"""A release: resolved at one moment, pinned, and judged before anything runs."""
