"""A WSGI application for gunicorn's sync workers: `/slow` keeps one of them for SLOW seconds."""

import os
import time
from collections.abc import Callable, Iterable

SLOW = float(os.environ.get("SLOW", "6"))


def app(
    environ: dict[str, object], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        time.sleep(SLOW)
    start("200 OK", [("Content-Length", "3"), ("Connection", "close")])
    return [b"ok\n"]
