"""The application that all rivals serve, in its own directory, which is added to PYTHONPATH."""
