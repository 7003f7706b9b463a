"""Ends at once with a traceback."""


def migrate() -> None:
    raise RuntimeError("no such table: users")


print("running migrations", flush=True)
migrate()
