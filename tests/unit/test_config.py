"""What an instance is configured to do: its values, its name, what a reload cannot change."""

import math
import socket
from pathlib import Path

import pytest

from tests.harness.configs import SMALL, WHOLE, load
from wssupervisor.config.model import (
    Address,
    Mode,
    Overrides,
    UnixAddress,
    instance_name,
    overlap,
    parse_address,
    restart_needed,
)
from wssupervisor.errors import ConfigInvalid
from wssupervisor.fleet.model import ReadyBy


def test_a_small_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL)
    policy = config.policy()

    assert config.name == "chat"
    assert config.listeners[0].name == "ws"
    assert config.listeners[0].mode is Mode.AUTO
    assert config.listeners[0].backlog == 4096
    assert (policy.workers, policy.ready_by, policy.ready_timeout) == (1, ReadyBy.CONNECT, 30.0)
    assert (policy.stable, policy.keep, policy.drain_timeout) == (1.0, 30.0, math.inf)
    assert (policy.stop_timeout, policy.kill_after, policy.max_draining) == (30.0, 10.0, 8)
    assert (policy.backoff, policy.backoff_max, policy.accept_stall) == (0.5, 30.0, 2.0)


def test_every_key_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, WHOLE)
    policy = config.policy()

    assert config.app.environment == (("CHAT_REGION", "eu"),)
    assert config.app.environment_files == ("/etc/chat.env",)
    assert [str(one.address) for one in config.listeners] == ["0.0.0.0:8765", "[::]:8766"]
    assert (policy.workers, policy.ready_by, policy.ready_timeout) == (3, ReadyBy.NOTIFY, 10.0)
    assert (policy.stable, policy.keep, policy.drain_timeout) == (0.0, 5.0, 7200.0)
    assert (policy.drain_signal, policy.max_draining) == ("SIGUSR1", 3)
    assert (policy.stop_timeout, policy.stop_signal, policy.kill_after) == (20.0, "SIGINT", 2.0)
    assert (policy.backoff, policy.backoff_max, policy.accept_stall) == (1.0, 10.0, 0.5)


@pytest.mark.parametrize(
    ("path", "option", "name"),
    [
        ("/etc/wssupervisor/chat.toml", None, "chat"),
        ("/etc/wssupervisor/Chat-2.eu_1.toml", None, "Chat-2.eu_1"),
        ("/etc/wssupervisor/chat.toml", "other", "other"),
        (None, "other", "other"),
        (None, None, "default"),
    ],
)
def test_an_instance_is_named_by_option_or_file(
    path: str | None, option: str | None, name: str
) -> None:
    assert instance_name(path, Overrides(name=option)) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a b", "é", "chat\n", "@x", "a@b", "a\\x2db", "-x", ".x", "x" * 65],
)
def test_an_instances_name_is_safe_as_a_directory_a_unit_and_an_option(name: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"^command line: --name: found"):
        instance_name(None, Overrides(name=name))


def test_a_file_that_names_no_instance_says_what_to_do() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        instance_name("/etc/my chat.toml", Overrides())

    assert caught.value.problems == (
        (
            '/etc/my chat.toml: instance name: found "my chat", expected at most 64 letters,'
            ' digits, ".", "-" and "_", of which "." and "-" do not come first. Rename the file, or'
            " give --name"
        ),
    )


def test_addresses_know_their_family() -> None:
    found = [parse_address(text) for text in ("0.0.0.0:80", "[::]:80", "unix:/run/x.sock")]

    assert found == [
        Address(socket.AF_INET, "0.0.0.0", 80),
        Address(socket.AF_INET6, "::", 80),
        UnixAddress("/run/x.sock"),
    ]


@pytest.mark.parametrize("text", ["0.0.0.0:80", "127.0.0.1:65535", "[::]:80", "[::1]:1"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


def test_localhost_is_the_loopback_address_of_ipv4() -> None:
    assert parse_address("localhost:8765") == parse_address("127.0.0.1:8765")


@pytest.mark.parametrize("text", [":8765", "*:8765", "8765"])
def test_a_port_alone_is_answered_with_the_address_that_is_probably_meant(text: str) -> None:
    with pytest.raises(ValueError, match=r'did you mean "0\.0\.0\.0:8765"\?$'):
        parse_address(text)


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("workers = 3", "workers = 4", []),
        ('keep = "5s"', 'keep = "6s"', []),
        ("0.0.0.0:8765", "0.0.0.0:8767", ["[[listen]] address of 'ws'"]),
        ("backlog = 100", "backlog = 101", ["[[listen]] backlog of 'ws'"]),
        ('balance = "client"', 'balance = "random"', []),
        ('name = "raw"', 'name = "web"', ["[[listen]] name"]),
    ],
)
def test_what_needs_a_restart_is_named(
    tmp_path: Path, before: str, after: str, keys: list[str]
) -> None:
    old = load(tmp_path, WHOLE)

    assert restart_needed(old, load(tmp_path, WHOLE.replace(before, after))) == keys


HTTP = '[http]\naddress = "{}"\nhosts = ["Metrics.example"]\n'


def test_a_change_of_http_needs_a_restart(tmp_path: Path) -> None:
    old = load(tmp_path, SMALL + HTTP.format("127.0.0.1:9464"))

    assert restart_needed(old, load(tmp_path, SMALL)) == ["[http] address", "[http] hosts"]


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "127.8.9.1:1", "[::1]:9", "unix:/run/x"])
def test_http_is_for_this_machine(tmp_path: Path, address: str) -> None:
    found = load(tmp_path, SMALL + HTTP.format(address)).http

    assert (str(found.address), found.hosts) == (address, ("metrics.example",))


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "0.0.0.0:1", True),
        ("[::1]:1", "[::]:1", True),
        ("127.0.0.1:1", "[::]:1", True),
        ("0.0.0.0:1", "[::]:1", True),
        ("0.0.0.0:1", "[::1]:1", False),
        ("127.0.0.1:1", "[::1]:1", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("unix:/run/x", "unix:/run/x", True),
        ("unix:/run/x", "127.0.0.1:1", False),
    ],
)
def test_two_addresses_that_cannot_be_listened_on_side_by_side(
    one: str, other: str, *, clash: bool
) -> None:
    assert overlap(parse_address(one), parse_address(other)) == clash


def test_of_a_single_listener_the_key_alone_is_named(tmp_path: Path) -> None:
    old = load(tmp_path, SMALL)

    assert restart_needed(old, load(tmp_path, SMALL.replace("8765", "8766"))) == [
        "[[listen]] address"
    ]


def test_a_listener_more_and_another_name_need_a_restart(tmp_path: Path) -> None:
    old = load(tmp_path, SMALL)
    new = load(tmp_path, SMALL + '[[listen]]\nname = "raw"\n', Overrides(name="other"))

    assert restart_needed(old, new) == ["name", "[[listen]] name"]
