"""For gunicorn's own workers."""

import time
from collections.abc import Callable, Iterable

from badness import BAD, NEVER, begin

begin()

STATUS = {"500": "500 Internal Server Error", "redirects": "302 Found"}


def app(
    _environ: dict[str, object], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    if BAD == "silent":
        time.sleep(NEVER)
    headers = [("Content-Length", "0"), ("Location", "http://127.0.0.1:1/")]
    start(STATUS.get(BAD, "200 OK"), headers)
    return [b""]
