"""Workers that use the library of the package, with Debian's own `websockets`."""

from collections import Counter

import pytest

from tests.e2e.service import Service

RESTART = "closed by the server: 03f4"
GOING_AWAY = "closed by the server: 03e9"
COUNT = 30


@pytest.fixture
def chat(new: Service) -> Service:
    """Its workers say themselves when they are ready."""
    new.release("polite", "polite")
    text = new.machine.read(new.config)
    text = text.replace("[ready]", '[ready]\nby = "notify"')
    text = text.replace("[drain]", '[drain]\nclose_over = "2s"')
    new.machine.write(new.config, text.replace("[stop]", '[stop]\nclose_over = "1s"'))
    new.start()
    return new


def test_websockets_of_debian_are_known_to_the_library(chat: Service) -> None:
    with chat.load() as clients:
        for _ in range(3):
            chat.reload()
            clients.more(50)
        workers = [one for shown in chat.status()["generations"] for one in shown["workers"]]
        clients.assert_unnoticed(chat.cutovers)

    assert all(one["library"] for one in workers)


def test_a_limit_and_a_stop_close_politely(chat: Service) -> None:
    with chat.hold(COUNT) as old:
        old.wait_open()
        chat.reload()
        chat.ctl("drain", "1", "--within", "2s")
        old.wait_broken(COUNT)
        first = Counter(one.reason[: len(RESTART)] for one in old.finish().broken)
    with chat.hold(COUNT) as last:
        last.wait_open()
        chat.machine.systemctl("stop", chat.socket, chat.service)
        second = Counter(one.reason[: len(RESTART)] for one in last.finish().broken)

    assert first == {RESTART: COUNT}
    assert second == {GOING_AWAY: COUNT}
    assert chat.machine.show(chat.service, "Result") == "success"
