"""Applications that are as bad as $BAD says, for several servers; see tests/harness/verdicts.py."""
