"""Everything the supervisor decides, as plain data: no I/O, no clock, no logging."""
