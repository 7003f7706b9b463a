"""Ends at once, and thinks that all is well."""

print("nothing to do", flush=True)
