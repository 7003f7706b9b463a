"""The word test: rules 1 to 3 of docs/internals/style.md. `./dev voice` prints what it finds."""
