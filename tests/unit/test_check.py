"""check says what would run, or all that is wrong, without a daemon."""

import json
from pathlib import Path

import pytest

from wssupervisor.commands.check import check

VALID = """
[app]
command = ["bin/serve", "--name", "two words", "--fd", "{{fd:raw}}"]
directory = "{directory}"
workers = {workers}
[[listen]]
[[listen]]
name = "raw"
address = "127.0.0.1:1"
"""


@pytest.fixture
def current(tmp_path: Path) -> Path:
    program = tmp_path / "releases" / "41" / "bin" / "serve"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    link = tmp_path / "current"
    link.symlink_to("releases/41")
    return link


def written(directory: Path, workers: object = 2) -> str:
    path = directory.parent / "chat.toml"
    path.write_text(VALID.format(directory=directory, workers=workers))
    return str(path)


def test_what_would_run_is_printed(current: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(current)
    real = current.resolve()

    assert check(path, json=False) == 0
    assert capsys.readouterr() == (
        (
            f"{path}: valid; instance 'chat' would run\n"
            f"  {real}/bin/serve --name 'two words' --fd 4\n"
            f"  in {real}, 2 workers\n"
            "  listener ws: address from systemd\n"
            "  listener raw: 127.0.0.1:1\n"
            "  needs 22 slots for each listener, and 294 open files (LimitNOFILE=)\n"
        ),
        "",
    )


def test_json_says_the_same(current: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = str(current.resolve())

    assert check(written(current), json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "valid": True,
        "name": "chat",
        "command": [f"{real}/bin/serve", "--name", "two words", "--fd", "4"],
        "directory": real,
        "workers": 2,
        "slots_wanted": 22,
        "descriptors_wanted": 294,
        "listeners": [
            {"name": "ws", "address": None, "balance": "random"},
            {"name": "raw", "address": "127.0.0.1:1", "balance": "random"},
        ],
        "http": None,
        "agent": None,
        "warnings": [],
    }


def test_what_is_served_by_http_is_shown(current: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(current)
    with Path(path).open("a") as file:
        file.write('[http]\naddress = "127.0.0.1:9464"\nagent = "[::]:9465"\n')

    assert check(path, json=False) == 0
    assert capsys.readouterr().out.endswith("\n  http: 127.0.0.1:9464\n  agent: [::]:9465\n")


def test_a_directory_that_cannot_be_switched_is_warned_of(
    current: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(written(current.resolve()), json=False) == 0
    assert "releases/41 is not a symlink: a restarted worker" in capsys.readouterr().err


def test_a_symlink_further_up_is_as_good(current: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(current)
    Path(path).write_text(
        VALID.format(directory=f"{current}/bin", workers=2).replace("bin/s", "./s")
    )

    assert check(path, json=False) == 0
    assert capsys.readouterr().err == ""


def test_every_mistake_is_printed_and_the_status_is_78(
    current: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(current, workers='0\nwrokers = 2\nbackoff = "1s"')

    assert check(path, json=False) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        [path, "[app] workers"],
        [path, "[app] wrokers"],
        [path, "[app] backoff"],
    ]

    assert check(path, json=True) == 78
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["problems"]) == (False, err.splitlines())


def test_a_release_that_cannot_run_is_told_with_the_file(
    current: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(current)
    (current / "bin" / "serve").chmod(0o644)

    assert check(path, json=False) == 78
    assert capsys.readouterr().err.startswith(
        f"{path}: [app] command: {current.resolve()}/bin/serve is not executable. Run `chmod +x "
    )


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_by_client_where_only_a_proxy_can_connect_is_warned_of(
    current: Path, capsys: pytest.CaptureFixture[str], host: str, *, warns: bool
) -> None:
    path = written(current)
    text = Path(path).read_text()
    Path(path).write_text(text.replace('"127.0.0.1:1"', f'"{host}:1"\nbalance = "client"'))

    assert check(path, json=False) == 0
    said = capsys.readouterr()
    assert f"listener raw: {host}:1, by client address\n" in said.out
    assert ("a reverse proxy connects from one address" in said.err) == warns


SOCKET = "etc/systemd/system/wssupervisor@chat.socket.d"
SMALL = """
[app]
command = ["serve"]
directory = "{directory}"
workers = 16
[[listen]]
"""


def warned(root: Path, directory: Path, *drop_ins: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `check` says of 16 workers beside these drop-ins of the socket unit."""
    (root / "etc/wssupervisor").mkdir(parents=True)
    (root / SOCKET).mkdir(parents=True)
    for at, text in enumerate(drop_ins):
        (root / SOCKET / f"{at}.conf").write_text(text)
    path = root / "etc/wssupervisor/chat.toml"
    path.write_text(SMALL.format(directory=directory).replace('"serve"', '"./bin/serve"'))

    assert check(str(path), json=False) == 0
    return capsys.readouterr().err


LINE = "ListenStream=0.0.0.0:8765\n"


@pytest.mark.parametrize(
    ("drop_ins", "expected"),
    [
        (
            (f"[Socket]\n{LINE * 16}",),
            "lists 16 slots. With 16 workers every reload is refused",
        ),
        (
            (f"[Socket]\n{LINE * 17}",),
            "lists 17 slots. With 16 workers every reload is refused",
        ),
        ((f"[Socket]\n{LINE * 18}",), "workers of a new generation must share slots"),
        ((LINE * 99, f"ListenStream=\n{LINE * 20}"), "1.conf lists 20 slots"),
    ],
)
def test_a_socket_unit_with_too_few_slots_is_warned_of(
    current: Path,
    tmp_path: Path,
    drop_ins: tuple[str, ...],
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = warned(tmp_path, current, *drop_ins, capsys=capsys)

    assert expected in text
    assert (
        ". Repeat its ListenStream= line 162 times, run `systemctl daemon-reload`, then restart"
        in text
    )


@pytest.mark.parametrize(
    "drop_ins",
    [
        (),
        (LINE * 162,),
        (LINE * 33,),
        (f"ReusePort=no\n{LINE}",),
        ("ListenStream=/run/chat.sock\n",),
    ],
)
def test_a_socket_unit_with_enough_slots_or_none_is_not(
    current: Path,
    tmp_path: Path,
    drop_ins: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert warned(tmp_path, current, *drop_ins, capsys=capsys) == ""
