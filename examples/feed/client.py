"""Reads the feed, and reconnects after each interruption without missing an event.

python client.py [ws://127.0.0.1:8765/]
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

RETRY_SECONDS = 0.5


async def events(url: str, after: int = 0) -> AsyncGenerator[dict[str, Any], None]:
    """Yield every event after that number, once and in order, and the greetings of the servers."""
    while True:
        try:
            async with connect(f"{url}?after={after}") as connection:
                async for message in connection:
                    event = json.loads(message)
                    after = event.get("id", after)
                    yield event
        except (ConnectionClosed, OSError):
            pass
        await asyncio.sleep(random.uniform(0, RETRY_SECONDS))  # noqa: S311 - not all at once


async def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/"
    async for event in events(url):
        print(json.dumps(event), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
