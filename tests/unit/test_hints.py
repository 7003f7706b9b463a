"""A command in a hint reaches the instance that it is about, however that was chosen."""

from pathlib import Path

import pytest

from wssupervisor.control import hints, paths

DRAIN = "Follow the drain with: wssctl status --watch"


def test_a_command_gets_the_options_that_choose_the_instance() -> None:
    text = "End it with `wssctl drain 1 --within 0s` or `wssctl reload --make-room`"
    named = (
        "End it with `wssctl -i chat drain 1 --within 0s` or `wssctl -i chat reload --make-room`"
    )

    assert hints.addressed(text, "-i chat") == named


def test_the_only_instance_needs_no_option() -> None:
    assert hints.addressed(DRAIN, "") == DRAIN


@pytest.mark.parametrize(
    "text",
    [
        "`wssctl check FILE` shows all",
        "make the instance with `wssctl init chat`",
        "wssctl: interrupted",
        "wssctl 1.0 cannot read the answer",
        "mywssctl status",
    ],
)
def test_what_needs_no_instance_stays_as_it_is(text: str) -> None:
    assert hints.addressed(text, "-i chat") == text


def test_an_instance_in_its_usual_place_is_chosen_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "roots", lambda: [tmp_path])

    assert hints.options(str(tmp_path / "chat" / paths.SOCKET)) == "-i chat"


def test_another_place_is_chosen_by_its_path_quoted_for_a_shell() -> None:
    assert hints.options("/srv/my chat/c.sock") == "--control '/srv/my chat/c.sock'"
