"""What the command line may say instead of the configuration file, or against it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.configs import ADDRESS, SMALL, WHOLE, load
from wssupervisor.config.model import (
    Balance,
    Listen,
    Mode,
    Overrides,
    parse_address,
    restart_needed,
)
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid


def option_problems(**given: object) -> list[str]:
    overrides = replace(
        Overrides(command=("serve",), listen=("127.0.0.1:1",)),
        **given,  # type: ignore[arg-type]
    )
    with pytest.raises(ConfigInvalid) as caught:
        load_config(None, overrides)
    return list(caught.value.problems)


def test_the_command_line_alone_is_enough() -> None:
    overrides = Overrides(
        listen=("127.0.0.1:1", "raw=[::1]:2", "127.0.0.1:3"),
        workers="2",
        command=("serve", "--fd", "{fd:raw}"),
    )
    config = load_config(None, overrides)

    assert (config.name, config.path, config.app.workers) == ("default", None, 2)
    assert config.app.command == ("serve", "--fd", "{fd:raw}")
    assert [(one.name, str(one.address)) for one in config.listeners] == [
        ("ws", "127.0.0.1:1"),
        ("raw", "[::1]:2"),
        ("ws3", "127.0.0.1:3"),
    ]


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    overrides = Overrides(
        name="other", workers="4", listen=("127.0.0.1:9",), command=("serve", "{fd}")
    )
    config = load(tmp_path, WHOLE, overrides)

    assert (config.name, config.app.workers) == ("other", 4)
    assert config.app.command == ("serve", "{fd}")
    assert [str(one.address) for one in config.listeners] == ["127.0.0.1:9"]


def test_a_listen_option_keeps_what_else_the_file_says_of_that_listener(tmp_path: Path) -> None:
    overrides = Overrides(listen=("127.0.0.1:9",))
    config = load(tmp_path, WHOLE, overrides)

    assert config.listeners == (
        Listen(
            "ws",
            parse_address("127.0.0.1:9"),
            Mode.STEERED,
            Balance.CLIENT,
            backlog=100,
            accept_stall=0.5,
        ),
    )


def test_a_reload_with_the_same_options_needs_no_restart(tmp_path: Path) -> None:
    overrides = Overrides(name="other", workers="4", listen=("127.0.0.1:9",))
    changed = WHOLE.replace("workers = 3", "workers = 5").replace("0.0.0.0:8765", "0.0.0.0:1")

    assert (
        restart_needed(load(tmp_path, WHOLE, overrides), load(tmp_path, changed, overrides)) == []
    )


def test_mistakes_of_file_and_command_line_come_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, SMALL + "backlog = 0\n", Overrides(name="a b", workers="0"))

    assert [one.split(" found")[0] for one in caught.value.problems] == [
        "command line: --name:",
        f"{tmp_path}/chat.toml: [[listen]] backlog:",
        "command line: --workers:",
    ]


WORKERS = 'a whole number from 1 to 256, or "auto"'
NAMES = 'lower-case letters, digits, "-" and "_", such as "ws"'


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"listen": ()}, "--listen: found nothing, expected an address, such as --listen"),
        ({"listen": ("80",)}, f'--listen: found "80", expected {ADDRESS}'),
        ({"listen": ("a:b=127.0.0.1:1",)}, f'--listen name: found "a:b", expected {NAMES}'),
        ({"listen": ("=127.0.0.1:1",)}, f'--listen name: found "", expected {NAMES}'),
        (
            {"listen": ("ws2=127.0.0.1:1", "127.0.0.1:2")},
            '--listen name: found "ws2", expected a name that no other listener has',
        ),
        (
            {"listen": ("127.0.0.1:1", "127.0.0.1:1")},
            "--listen: found \"127.0.0.1:1\", expected another address: 'ws' has it",
        ),
        ({"workers": "many"}, f'--workers: found "many", expected {WORKERS}'),
        ({"workers": "0"}, f'--workers: found "0", expected {WORKERS}'),
        (
            {"workers": "1" * 5000},
            f'--workers: found "{"1" * 56}..., expected {WORKERS}',
        ),
        ({"command": ("",)}, 'COMMAND: found [""], expected a non-empty program and its arguments'),
        ({"command": ("a", "{fd:b}")}, 'COMMAND: found "{fd:b}", expected a listener'),
        ({"name": ""}, '--name: found "", expected at most 64 letters, digits, ".", "-" and "_"'),
    ],
)
def test_a_mistake_in_an_option_names_the_option(given: dict[str, object], problem: str) -> None:
    (found,) = option_problems(**given)

    assert found.startswith(f"command line: {problem}")


def test_auto_workers_are_one_per_cpu_that_may_be_used() -> None:
    overrides = Overrides(command=("serve",), listen=("127.0.0.1:1",), workers="auto")

    assert load_config(None, overrides).app.workers == len(os.sched_getaffinity(0))
