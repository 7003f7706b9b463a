"""The application that all rivals serve; its own directory is added to PYTHONPATH."""
