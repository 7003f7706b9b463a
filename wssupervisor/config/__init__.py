"""The configuration: its values, the schema of its file, and how both are read."""
