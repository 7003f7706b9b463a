"""The configuration: its values, the schema of its file, and the parsers of both."""
