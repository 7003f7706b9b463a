"""What control clients can ask for, checked and turned into events."""
