"""Everything the supervisor does to the system, one file per kernel facility."""
