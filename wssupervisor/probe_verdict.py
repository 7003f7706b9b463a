"""The verdicts of a probe. It prints one of them, and nothing else."""

GOOD = "good"
WRONG = "wrong "
"""Followed by the reason, which completes: it ..."""
