"""The application that all rivals serve; in a directory of its own, which goes on PYTHONPATH."""
