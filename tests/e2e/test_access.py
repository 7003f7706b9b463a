"""Rights and files are as wssupervisor(8) and (5) document them."""

import stat

from tests.e2e.service import Service

DENIED = 77


def described(service: Service, path: str) -> tuple[str, str]:
    """Owner and group, and mode."""
    done = service.machine.run("stat", "--format=%U:%G %A", path)
    owner, _, mode = done.stdout.strip().partition(" ")
    return owner, mode


def add_user(service: Service, name: str, *options: str) -> None:
    service.machine.run("useradd", "--create-home", *options, name)


def test_files_have_the_documented_owners_and_modes(standing: Service) -> None:
    directory = "/run/wssupervisor/chat"
    own = f"{standing.account}:{standing.account}"
    expected = {
        "/etc/wssupervisor/chat.toml": (f"root:{standing.account}", "-rw-r-----"),
        directory: (own, "drwxr-x---"),
        f"{directory}/control.sock": (own, "srw-rw----"),
        "/run/wssupervisor": ("root:root", "drwxr-xr-x"),
        "/var/lib/wssupervisor/chat": (own, "drwxr-x---"),
        "/var/lib/wssupervisor/chat/supervisor": (own, "drwxr-x---"),
        "/var/lib/wssupervisor/chat/supervisor/slots.json": (own, "-rw-r-----"),
        "/var/lib/wssupervisor/chat/supervisor/events.jsonl": (own, "-rw-r-----"),
    }

    assert {path: described(standing, path) for path in expected} == expected


def test_daemon_and_workers_run_as_the_user_without_any_privilege(standing: Service) -> None:
    for pid in (standing.main_pid(), *standing.worker_pids()):
        status = dict(
            line.split(":\t", 1)
            for line in standing.machine.read(f"/proc/{pid}/status").splitlines()
            if ":\t" in line
        )
        uid = standing.machine.run("id", "--user", standing.account).stdout.strip()
        assert set(status["Uid"].split()) == {uid}
        assert {status[key] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"


def test_a_user_of_its_own_serves_below_port_1024(new: Service) -> None:
    add_user(new, "gamer", "--system")
    game = Service(new.machine, new.record, name="game", port=443, user="gamer")
    game.release("one")
    game.init()
    game.start()
    with game.load() as clients:
        game.reload()
        clients.more(50)
        clients.assert_unnoticed(game.cutovers)

    for pid in game.worker_pids():
        owner = game.machine.run("stat", "--format=%U", f"/proc/{pid}").stdout.strip()
        assert owner == "gamer"


def test_a_member_of_the_group_may_look_and_no_more(standing: Service) -> None:
    add_user(standing, "member", "--groups", standing.account)
    before = standing.main_pid(), standing.worker_pids()
    looked = standing.ctl("status", user="member")
    events = standing.ctl("events", user="member")

    assert "1  active" in looked.stdout
    assert "generation=1" in events.stdout
    for words in (["stop"], ["reload"], ["rollback"], ["scale", "1"], ["drain", "1", "--pause"]):
        refused = standing.ctl(*words, user="member", check=False)
        assert refused.returncode == DENIED, refused
        assert "member may read but not" in refused.stderr
        # The command in the message must work for root.
        stops = f"Run as root: systemctl stop {standing.socket} {standing.service}\n"
        assert refused.stderr.endswith(stops) == (words == ["stop"])
    assert (standing.main_pid(), standing.worker_pids()) == before


def test_a_member_of_the_group_may_operate_where_the_configuration_says_so(
    new: Service,
) -> None:
    add_user(new, "member", "--groups", new.account)
    new.configure("[control]\ngroup_may_operate = true\n")
    new.start()

    new.ctl("reload", user="member")
    assert new.active() == 2
    refused = new.ctl("upgrade", user="member", check=False)
    assert refused.returncode == DENIED, refused


def test_others_may_do_nothing(standing: Service) -> None:
    add_user(standing, "stranger")
    for verb in ("status", "stop", "reload", "events"):
        refused = standing.ctl(verb, user="stranger", check=False)

        assert refused.returncode == DENIED, refused
        assert "not allowed" in refused.stderr


def test_stop_by_wssctl_names_the_systemctl_line_instead(standing: Service) -> None:
    refused = standing.ctl("stop", check=False)

    assert refused.returncode != 0
    assert "systemctl stop wssupervisor@chat" in refused.stderr
    assert standing.systemctl("is-active").stdout == "active\n"


def test_the_control_socket_goes_with_the_service(chat: Service) -> None:
    chat.machine.systemctl("stop", chat.socket, chat.service)
    path = chat.machine.root / "run/wssupervisor/chat"

    assert not path.exists()
    assert stat.S_ISDIR((chat.machine.root / "run/wssupervisor").stat().st_mode)
    gone = chat.ctl("status", check=False)
    assert gone.returncode == 69
