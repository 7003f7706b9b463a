"""A worker that uses the library: greets and echoes on every slot, and prints what it is asked for.

Its one argument: "polite", or "stuck" (its event loop is busy for $STUCK_SECONDS when it gets
SIGUSR2). A connection to /busy vetoes being closed at its turn.
"""

import asyncio
import logging
import os
import signal
import time

from websockets.asyncio.server import ServerConnection

from wssupervisor.worker import serve

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


async def echo(connection: ServerConnection) -> None:
    await connection.send(GREETING)
    async for message in connection:
        await connection.send(message)


def busy(connection: ServerConnection) -> bool:
    return connection.request is not None and connection.request.path == "/busy"


def be_stuck() -> None:
    print("stuck", flush=True)
    time.sleep(float(os.environ["STUCK_SECONDS"]))


async def main() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, be_stuck)
    await serve(
        echo,
        on_drain=lambda: print("asked to drain", flush=True),
        on_resume=lambda: print("asked to resume", flush=True),
        busy=busy,
        compression=None,
        ping_interval=None,
    )


logging.getLogger("websockets").addHandler(logging.NullHandler())
logging.getLogger("websockets").propagate = False
if os.environ.get("LOOP") == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
