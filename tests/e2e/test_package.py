"""The package, installed, upgraded, removed and purged while clients are connected."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.e2e.machine import Machine
from tests.e2e.service import Clients, Counts, Service

APT_WITHIN = 120.0
OURS = ("-path", "*wssupervisor*", "-o", "-path", "*wssctl*")
VERSIONED = "usr/lib/python3/dist-packages/wssupervisor/__init__.py"
DAEMON = "usr/lib/python3/dist-packages/wssupervisor/daemon.py"


@pytest.fixture
def fresh(bare: Machine, deb: Path) -> Machine:
    """Without the package, which is in /root."""
    (bare.root / "root" / deb.name).write_bytes(deb.read_bytes())
    return bare


@pytest.fixture
def upgradable(machine: Machine, deb: Path) -> Machine:
    """With the package installed, and once more in /root, to make others of it."""
    (machine.root / "root" / deb.name).write_bytes(deb.read_bytes())
    return machine


def variant(machine: Machine, version: str, *, broken: bool = False) -> str:
    """A package of another version, made of the one in /root; `broken`: its daemon cannot start."""
    place = f"/root/{version}"
    machine.run("sh", "-c", f"dpkg-deb -R /root/wssupervisor_*_all.deb {place}")
    control = f"{place}/DEBIAN/control"
    machine.write(
        control, re.sub(r"(?m)^Version: .*$", f"Version: {version}", machine.read(control))
    )
    code = f"{place}/{VERSIONED}"
    machine.write(code, machine.read(code).replace('"0.1.0"', f'"{version}"'))
    for name in ("postinst", "prerm", "postrm"):
        machine.run("chmod", "755", f"{place}/DEBIAN/{name}")
    if broken:
        machine.write(f"{place}/{DAEMON}", "raise RuntimeError('this version is broken')\n")
    machine.run("dpkg-deb", "-Znone", "--build", place, f"{place}.deb")
    return f"{place}.deb"


def apt(machine: Machine, *words: str) -> str:
    """What apt-get said, and the maintainer scripts."""
    done = machine.run(
        *("apt-get", "--yes", "-o", "Dpkg::Use-Pty=0", "--allow-downgrades", *words),
        within=APT_WITHIN,
    )
    return done.stdout + done.stderr


def version(machine: Machine) -> str:
    done = machine.run("dpkg-query", "--show", "--showformat=${Version}", "wssupervisor")
    return done.stdout


def served(machine: Machine, record: Callable[[Counts], None], name: str = "chat") -> Service:
    found = Service(machine, record, name=name)
    found.release("one")
    found.init()
    found.start()
    return found


def files(machine: Machine, *below: str) -> set[str]:
    """What there is of ours."""
    done = machine.run("find", *below, "-xdev", "(", *OURS, ")")
    return set(done.stdout.splitlines())


def running(machine: Machine) -> str:
    return machine.run("pgrep", "--full", "--list-full", "app.py|/wssup", check=False).stdout


def state(service: Service) -> tuple[int, list[int], str]:
    show = service.machine.show
    return service.main_pid(), service.worker_pids(), show(service.socket, "ActiveEnterTimestamp")


def test_an_install_starts_nothing_and_brings_all(fresh: Machine) -> None:
    said = apt(fresh, "install", "/root/wssupervisor_0.1.0_all.deb")
    units = fresh.systemctl("list-units", "--all", "--plain", "--no-legend", "wssupervisor*")
    enabled = fresh.systemctl("list-unit-files", "--no-legend", "wssupervisor*").stdout

    assert units.stdout == ""
    assert running(fresh) == ""
    assert "enabled enabled" not in enabled
    assert "restart" not in said
    assert fresh.run("wssupervisor", "--version").stdout == "wssupervisor 0.1.0\n"
    assert fresh.run("wssctl", "check", "/nonexistent", check=False).returncode == 78
    assert fresh.run("id", "--user", "--name", "wssupervisor").stdout == "wssupervisor\n"
    for path in (
        "/usr/share/man/man8/wssupervisor.8.gz",
        "/usr/share/man/man1/wssctl.1.gz",
        "/usr/share/man/man5/wssupervisor.toml.5.gz",
        "/usr/share/bash-completion/completions/wssctl",
        "/usr/share/zsh/vendor-completions/_wssctl",
        "/usr/share/fish/vendor_completions.d/wssctl.fish",
        "/usr/share/doc/wssupervisor/examples/asgi/asgi.toml",
        "/usr/share/doc/wssupervisor/examples/chat/server.py",
        "/usr/share/doc/wssupervisor/examples/feed/server.py",
        "/usr/share/doc/wssupervisor/examples/signalling/server.py",
        "/usr/share/doc/wssupervisor/examples/wssupervisor.rules.yml",
        "/usr/lib/systemd/catalog/wssupervisor.catalog",
        "/usr/lib/tmpfiles.d/wssupervisor.conf",
        "/usr/lib/sysusers.d/wssupervisor.conf",
        "/run/wssupervisor",
    ):
        assert (fresh.root / path.lstrip("/")).exists(), path


def test_from_the_package_to_a_reloadable_app_in_three_commands(
    fresh: Machine, record: Callable[[Counts], None]
) -> None:
    """The README's, with the example that the package ships."""
    apt(fresh, "install", "/root/wssupervisor_0.1.0_all.deb")
    chat = Service(fresh, record)
    fresh.run("mkdir", "-p", "/srv/chat/releases")
    example = "/usr/share/doc/wssupervisor/examples/chat"
    fresh.run("cp", "-r", example, "/srv/chat/releases/1")
    chat.switch("1")

    said = fresh.run(
        *("wssctl", "init", "chat", "--listen", "127.0.0.1:8765", "--workers", "2"),
        *("--command", "/usr/bin/python3 /srv/chat/current/server.py"),
        *("--directory", "/srv/chat/current"),
    ).stdout
    [start] = [line.strip() for line in said.splitlines() if "enable --now" in line]
    [reload] = re.findall(r"systemctl reload \S+", said)
    fresh.run(*start.split())
    with chat.hold(rooms=1) as held, chat.storm() as storm:
        clients = Clients(held.wait_open(), storm, record)
        clients.more(50)
        fresh.run(*reload.split())
        assert chat.active() == 2
        clients.more(50)
        clients.assert_unnoticed()


@pytest.mark.parametrize("other", ["0.2.0", "0.0.9"], ids=["upgrade", "downgrade"])
def test_another_version_is_installed_under_load(
    upgradable: Machine, record: Callable[[Counts], None], other: str
) -> None:
    """Instances of every kind of name; systemd would escape the first one's dash."""
    chat = served(upgradable, record, "my-chat.v2")
    longest = Service(upgradable, record, name="_" + "x" * 63, port=8766)
    longest.release("one")
    longest.init()
    longest.start()
    package = variant(upgradable, other)
    before = state(chat)
    with chat.load() as clients:
        said = apt(upgradable, "install", package)
        clients.more(50)
        assert version(upgradable) == other
        assert said.count(f"the supervisor now runs wssupervisor {other}, was 0.1.0") == 2
        assert [one.status()["version"] for one in (chat, longest)] == [other, other]
        assert state(chat) == before
        chat.reload()
        clients.more(50)
        clients.assert_unnoticed(chat.cutovers)


@pytest.mark.slow("two installations, of which the broken one is waited for")
def test_an_upgrade_to_a_version_whose_daemon_is_broken(
    upgradable: Machine, record: Callable[[Counts], None]
) -> None:
    chat = served(upgradable, record)
    package = variant(upgradable, "0.2.0", broken=True)
    before = state(chat)
    with chat.load() as clients:
        said = apt(upgradable, "install", package)
        clients.more(50)
        assert "cannot take over: RuntimeError: this version is broken" in said
        assert f"systemctl restart {chat.service}" in said
        assert state(chat) == before
        chat.reload()
        clients.more(50)
        said = apt(upgradable, "install", "/root/wssupervisor_0.1.0_all.deb")
        assert "the supervisor now runs wssupervisor 0.1.0" in said
        chat.systemctl("reload")
        clients.more(50)
        clients.assert_unnoticed()


def test_reinstalling_changes_nothing(
    upgradable: Machine, record: Callable[[Counts], None]
) -> None:
    chat = served(upgradable, record)
    before = state(chat)
    with chat.load() as clients:
        apt(upgradable, "install", "--reinstall", "/root/wssupervisor_0.1.0_all.deb")
        clients.more(50)
        assert state(chat) == before
        clients.assert_unnoticed()


def test_remove_stops_all_instances_within_their_limits(
    upgradable: Machine, record: Callable[[Counts], None]
) -> None:
    chat = served(upgradable, record)
    other = Service(upgradable, record, name="game", port=8766)
    other.release("one", "stubborn")
    other.init()
    other.start()
    said = apt(upgradable, "remove", "wssupervisor")

    assert "stopping all instances" in said
    assert running(upgradable) == ""
    for service in (chat, other):
        for unit in (service.service, service.socket):
            assert upgradable.show(unit, "ActiveState") == "inactive"
    assert (upgradable.root / "etc/wssupervisor/chat.toml").exists()


def test_remove_in_the_gap_before_an_automatic_restart_leaves_no_worker(
    upgradable: Machine, record: Callable[[Counts], None]
) -> None:
    chat = served(upgradable, record)
    chat.drop_in(chat.service, "gap", "[Service]\nRestartSec=10min\n")
    upgradable.systemctl("daemon-reload")
    upgradable.run("kill", "-KILL", str(chat.main_pid()))
    wait_until(
        lambda: upgradable.show(chat.service, "SubState") == "auto-restart",
        what="the gap",
    )
    assert "app.py" in running(upgradable)
    apt(upgradable, "remove", "wssupervisor")

    assert running(upgradable) == ""
    assert upgradable.show(chat.service, "ActiveState") == "inactive"


def test_purge_leaves_nothing_but_the_user(
    fresh: Machine, record: Callable[[Counts], None]
) -> None:
    everywhere = ("/etc", "/usr", "/var", "/run", "/srv", "/opt")
    before = files(fresh, *everywhere)
    apt(fresh, "install", "/root/wssupervisor_0.1.0_all.deb")
    chat = served(fresh, record)
    chat.reload()
    apt(fresh, "purge", "wssupervisor")
    left = files(fresh, *everywhere) - before
    units = fresh.systemctl("list-units", "--all", "--plain", "--no-legend", "wssupervisor*")

    assert running(fresh) == ""
    assert {path for path in left if not path.startswith("/var/log/")} == set()
    assert units.stdout == ""
    assert fresh.run("id", "--user", "--name", "wssupervisor").stdout == "wssupervisor\n"


def test_purge_keeps_what_workers_wrote_and_says_where(
    fresh: Machine, record: Callable[[Counts], None]
) -> None:
    apt(fresh, "install", "/root/wssupervisor_0.1.0_all.deb")
    chat = served(fresh, record)
    chat.reload()
    state = fresh.root / "var/lib/wssupervisor/chat"
    before = {one.name for one in (state / "supervisor").iterdir()}
    (state / "messages.db").write_text("what users said")
    said = apt(fresh, "purge", "wssupervisor")

    assert {"events.jsonl", "reloads.jsonl"} <= before
    assert [one.name for one in state.iterdir()] == ["messages.db"]
    assert "kept what the workers of these instances wrote" in said
    assert "/var/lib/wssupervisor/chat\n" in said
    assert not (fresh.root / "etc/wssupervisor").exists()


MINE = """
[Service]
Type=notify
ExecStart=/usr/bin/wssupervisor --name mine --listen 127.0.0.1:8799 -- python3 {server}
NonBlocking=yes
KillMode=process
"""
ASKS = """
our %nrconf = (blacklist_rc => []);
do "{path}" or die "$@ $!";
for my $rc (@ARGV) {{ print "$rc\\n" if grep {{ $rc =~ /$_/ }} @{{$nrconf{{blacklist_rc}}}} }}
"""


def test_needrestart_neither_restarts_an_instance_nor_suggests_it(machine: Machine) -> None:
    """The packages' units by their name, others by what runs in them: read as needrestart does."""
    server = "/usr/share/doc/wssupervisor/examples/chat/server.py"
    machine.write("/etc/systemd/system/mine.service", MINE.format(server=server))
    machine.systemctl("start", "mine.service")
    units = (
        "wssupervisor@my-chat.v2.service",
        "mine.service",
        "systemd-journald.service",
        "x.service",
    )
    code = ASKS.format(path="/etc/needrestart/conf.d/wssupervisor.conf")
    said = machine.run("perl", "-e", code, *units).stdout
    machine.systemctl("stop", "mine.service")

    assert said.splitlines() == ["wssupervisor@my-chat.v2.service", "mine.service"]
    assert machine.run("perl", "-e", code, "mine.service").stdout == ""
