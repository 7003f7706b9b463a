"""A command whose `--` was forgotten is answered with the line that was meant."""

import pytest

from wssupervisor import daemon
from wssupervisor.command_line import corrected
from wssupervisor.commands import cli

LISTEN = "--listen 127.0.0.1:8765"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (f"{LISTEN} uvicorn app:app --fd 3", f"{LISTEN} -- uvicorn app:app --fd 3"),
        (f"{LISTEN} python3 -m chat", f"{LISTEN} -- python3 -m chat"),
        # Understood as the supervisor's own, without a visible sign:
        (f"{LISTEN} gunicorn --workers 4", f"{LISTEN} -- gunicorn --workers 4"),
        (f"--workers=2 {LISTEN} serve -v", f"--workers=2 {LISTEN} -- serve -v"),
        (f"serve -v {LISTEN} -q", f"{LISTEN} -- serve -v -q"),
        ("serve --config=chat.toml", "--config=chat.toml -- serve"),
    ],
)
def test_the_line_that_was_meant_is_shown(
    line: str, meant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        daemon.main(line.split())

    assert ended.value.code == 2
    assert capfd.readouterr().err.endswith(
        f"error: the command has options, so it must come after --. Run:\n  wssupervisor {meant}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        f"{LISTEN} -- uvicorn app:app --fd 3",
        f"{LISTEN} ./serve",
        f"{LISTEN} ./serve 3",
        "--config chat.toml",
        "--config=chat.toml --log-level debug",
        "--version",
        "",
    ],
)
def test_a_line_without_that_mistake_is_left_alone(line: str) -> None:
    assert corrected(daemon.parser(), line.split()) is None


def test_a_command_of_init_without_quotes_is_shown_with_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "init chat --listen 127.0.0.1:8765 --command uvicorn app:app --fd 3"
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())

    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        "unrecognized arguments: app:app --fd 3; --command takes one argument:"
        " --command 'uvicorn app:app --fd 3'\n"
    )
