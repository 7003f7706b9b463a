"""A client process of plain HTTP requests over connections that are kept; ends with its stdin.

python -m tests.e2e.requests PORT REPORT      a line for each: start, end, generation, error
"""

import http.client
import json
import re
import sys
import threading
import time
from pathlib import Path

THREADS = 6
PAUSE = 0.01
REQUESTS_MAX = 50_000
SECONDS_MAX = 120.0
ANSWER_SECONDS = 10.0

ended = threading.Event()


def ask(port: int, notes: list[tuple[float, float, int, str]]) -> None:
    """One client that keeps its connection and asks again and again."""
    until = time.monotonic() + SECONDS_MAX
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    while not ended.is_set() and len(notes) < REQUESTS_MAX and time.monotonic() < until:
        start, generation, error = time.monotonic(), 0, ""
        try:
            client.request("GET", "/")
            answer = client.getresponse()
            body = answer.read()
            found = re.match(rb"generation (\d+)", body)
            if answer.status == 200 and found is not None:
                generation = int(found[1])
            else:
                error = f"status {answer.status}"
        except (OSError, http.client.HTTPException) as failure:
            error = repr(failure)
            client.close()
        notes.append((start, time.monotonic(), generation, error))
        ended.wait(PAUSE)


def main() -> None:
    notes: list[tuple[float, float, int, str]] = []
    port = int(sys.argv[1])
    clients = [threading.Thread(target=ask, args=(port, notes)) for _ in range(THREADS)]
    for client in clients:
        client.start()
    sys.stdin.read()
    ended.set()
    for client in clients:
        client.join()
    Path(sys.argv[2]).write_text(json.dumps(notes))


if __name__ == "__main__":
    main()
