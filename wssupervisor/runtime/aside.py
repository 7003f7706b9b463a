"""A few threads for what may hang: files on a file system that does not answer.

They are apart from those that take a census, so that one that hangs costs a reload and nothing
else; and they do not hold up the end of the program.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from wssupervisor.errors import OperationFailed

T = TypeVar("T")


class Aside:
    def __init__(self, most: int, within: float) -> None:
        """At most so many at once; each is waited for at most so many seconds."""
        self._most = most
        self._within = within
        self._threads: set[threading.Thread] = set()

    async def do(self, what: str, work: Callable[[], T]) -> T:
        """Its result; `what`: for the error. Raises OperationFailed, and whatever it raises."""
        self._threads = {one for one in self._threads if one.is_alive()}
        if len(self._threads) >= self._most:
            raise OperationFailed(
                f"{what} was not begun: {len(self._threads)} earlier ones still hang in the file"
                " system; look for a mount that does not answer"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        thread = threading.Thread(target=_work, args=(loop, done, work), daemon=True, name=what)
        self._threads.add(thread)
        thread.start()
        try:
            return await asyncio.wait_for(done, self._within)
        except TimeoutError:
            raise OperationFailed(
                f"{what} took more than {self._within:g} s; look for a mount that does not answer"
            ) from None


def _work(
    loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]", work: Callable[[], T]
) -> None:
    try:
        settle = partial(done.set_result, work())
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        settle = partial(done.set_exception, error)

    def tell() -> None:
        if not done.done():
            settle()

    with suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(tell)
