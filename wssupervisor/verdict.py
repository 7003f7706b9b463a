"""The words in which a probe of ours gives its verdict: one of them, as all that it prints."""

GOOD = "good"
WRONG = "wrong "
"""What is wrong follows; it completes: it ..."""
