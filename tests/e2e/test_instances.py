"""Two instances on one host."""

import pytest

from tests.e2e.service import Service


@pytest.fixture
def game(chat: Service) -> Service:
    """A second instance, beside chat, that serves."""
    found = Service(chat.machine, chat.record, name="game", port=8766)
    found.release("one")
    found.init()
    found.start()
    return found


def test_what_happens_to_one_does_not_disturb_the_other(chat: Service, game: Service) -> None:
    before = chat.main_pid(), chat.worker_pids()
    with chat.load() as clients:
        game.reload()
        game.release("bad", "fails_at_once")
        assert game.systemctl("reload", check=False).returncode == 1
        game.switch("one")
        game.systemctl("restart")
        game.wait_serving()
        game.machine.systemctl("stop", game.socket, game.service)
        clients.more(50)
        clients.assert_unnoticed()

    assert (chat.main_pid(), chat.worker_pids()) == before


def test_without_a_name_wssctl_lists_both(chat: Service, game: Service) -> None:
    out = chat.machine.run("wssctl").stdout

    assert "chat  serving" in out
    assert "game  serving" in out
    assert game.ctl("status").stdout.startswith("game  serving")


def test_an_instance_with_the_port_of_another_refuses(chat: Service) -> None:
    rival = Service(chat.machine, chat.record, name="rival", port=chat.port)
    rival.release("one")
    rival.init()
    with chat.load() as clients:
        done = rival.machine.systemctl("start", rival.socket, rival.service, check=False)
        text = rival.machine.journal("--output=cat", f"--unit={rival.service}")
        clients.more(150)
        rival.machine.systemctl("stop", rival.socket, rival.service)
        clients.more(50)
        chat.reload()
        clients.more(50)
        verdict, held = clients.finish(chat.cutovers)

    assert done.returncode == 1
    assert "127.0.0.1:8765" in text
    assert (verdict.misrouted, held.broken) == (0, ())
    # systemd lent the rival sockets of the same group; chat's clients are steered past them.
    assert (verdict.lost, verdict.reasons) == (0, {})
