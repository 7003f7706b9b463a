"""The import picture. `./dev house` prints it; tests/unit/test_house.py holds it."""
