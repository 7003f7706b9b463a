"""Mistakes in [[listen]]: addresses, modes, names, and several listeners beside each other."""

from pathlib import Path

import pytest

from tests.harness.configs import ADDRESS, SMALL, load, problems
from wssupervisor.config.model import Overrides
from wssupervisor.errors import ConfigInvalid


@pytest.mark.parametrize(
    "address",
    [
        "chat.example.org:80",
        "localhost.:80",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "127.0.0.1:٨٠",
        "127.0.0.1:" + "1" * 5000,
        "::1:80",
        "[::1]80",
        "[fe80::1%eth0]:80",
        "[127.0.0.1]:80",
        ":80",
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    (found,) = problems(tmp_path, SMALL.replace("127.0.0.1:8765", address))

    assert found.startswith('[[listen]] address: found "')
    assert f", expected {ADDRESS}" in found


UNIX = SMALL.replace("127.0.0.1:8765", "unix:/run/x.sock")

NOTIFY = '[ready]\nby = "notify"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            UNIX,
            (
                '[ready] by: found nothing, expected "notify" or "delay": listener \'ws\' is shared'
                " (AF_UNIX sockets cannot be steered)"
            ),
        ),
        (
            SMALL + 'mode = "shared"\n[ready]\nby = "connect"\n',
            '[ready] by: found "connect", expected "notify" or "delay": listener \'ws\' is shared',
        ),
        (UNIX + 'mode = "steered"\n' + NOTIFY, '[[listen]] mode: found "steered", expected "auto"'),
        (
            UNIX + 'balance = "client"\n' + NOTIFY,
            '[[listen]] balance: found "client", expected "random", because the',
        ),
        (UNIX + 'socket_mode = "9"\n' + NOTIFY, '[[listen]] socket_mode: found "9", expected an'),
        (
            SMALL + 'socket_user = "www-data"\n',
            '[[listen]] socket_user: found "www-data", expected nothing: only addresses',
        ),
        (UNIX.replace("/run/x", "run/x") + NOTIFY, '[[listen]] address: found "unix:run/x.sock"'),
        (UNIX.replace("/run/x", "/" + 110 * "x") + NOTIFY, '[[listen]] address: found "unix:/xxx'),
    ],
)
def test_what_shared_mode_cannot_do_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (found,) = problems(tmp_path, text)

    assert found.startswith(told)


def test_an_af_unix_listener_has_an_owner_and_a_mode(tmp_path: Path) -> None:
    keys = 'socket_mode = "0660"\nsocket_user = "chat"\nsocket_group = "www-data"\n'
    (found,) = load(tmp_path, UNIX + keys + NOTIFY).listeners

    assert str(found.address) == "unix:/run/x.sock"
    assert (found.socket_mode, found.socket_user, found.socket_group) == (
        0o660,
        "chat",
        "www-data",
    )


def test_the_address_is_left_out_when_systemd_passes_it(tmp_path: Path) -> None:
    config = load(tmp_path, '[app]\ncommand = ["serve"]\n[[listen]]\nname = "web"\n')

    assert [(one.name, one.address) for one in config.listeners] == [("web", None)]


def test_of_several_listeners_the_wrong_one_is_told_by_its_number(tmp_path: Path) -> None:
    text = SMALL + '[[listen]]\nname = "raw"\nbacklog = 0\n'

    assert problems(tmp_path, text) == [
        "[[listen]] #2 backlog: found 0, expected a whole number from 1 to 1048576"
    ]


def test_two_listeners_need_two_names_and_two_addresses(tmp_path: Path) -> None:
    text = SMALL + '[[listen]]\naddress = "127.0.0.1:8765"\n'

    assert problems(tmp_path, text) == [
        (
            '[[listen]] #2 name: found "ws", expected a name that no other listener has'
            ' (default: "ws")'
        ),
        "[[listen]] #2 address: found \"127.0.0.1:8765\", expected another address: 'ws' has it",
    ]


def test_two_listeners_need_addresses_that_do_not_overlap(tmp_path: Path) -> None:
    every = SMALL.replace("127.0.0.1", "0.0.0.0")
    second = '[[listen]]\nname = "b"\naddress = "{}:8765"\n'
    wrong = '[[listen]] #2 address: found "{}:8765", expected an address that 0.0.0.0:8765 of'
    both = f"{wrong.format('[::]')} 'ws' does not include: [::] also takes IPv4 clients, so leave"
    one = f"{wrong.format('127.0.0.1')} 'ws' does not include"

    assert problems(tmp_path, every + second.format("[::]")) == [f"{both} 0.0.0.0 out"]
    assert problems(tmp_path, every + second.format("127.0.0.1")) == [one]


@pytest.mark.parametrize("name", ["Web", "a:b", "a.b", "", "ä", "a b"])
def test_a_listeners_name_is_safe_in_listen_fdnames(tmp_path: Path, name: str) -> None:
    text = SMALL + f'name = "{name}"\n'

    assert problems(tmp_path, text) == [
        (
            f'[[listen]] name: found "{name}", expected lower-case letters, digits, "-" and "_",'
            ' such as "ws"'
        )
    ]


def test_a_table_that_is_written_as_one_listener_is_told_once(tmp_path: Path) -> None:
    text = '[app]\ncommand = ["a", "{fd:web}"]\n[listen]\nname = "web"\n'

    assert problems(tmp_path, text) == [
        'listen: found {"name": "web"}, expected tables, each begun with [[listen]]'
    ]


def test_a_missing_listener_is_told_beside_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, '[app]\ncommand = ["a"]\n', Overrides(name="a b"))

    assert [one.split(": found")[0] for one in caught.value.problems] == [
        "command line: --name",
        f"{tmp_path}/chat.toml: [[listen]]",
    ]
