"""How little the service may do, and that everything works inside all the same."""

import re
from pathlib import Path

import pytest

from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

EXPOSURE_MAX = 1.4
MANUAL = Path(__file__).parents[2] / "packaging/man/wssupervisor.8.scd"

NODE = """
const {createServer} = require('node:http');
const {WebSocketServer} = require('ws');
const server = createServer();
const sockets = new WebSocketServer({server});
sockets.on('connection', (socket) => {
    socket.send(`generation ${process.env.WSSUPERVISOR_GENERATION} process ${process.pid}`);
    socket.on('message', (data, binary) => socket.send(data, {binary}));
});
process.on('SIGTERM', () => process.exit(0));
server.listen({fd: 3});
"""


def test_the_service_exposes_little(chat: Service) -> None:
    text = chat.machine.run("systemd-analyze", "security", "--no-pager", chat.service).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)

    assert found is not None, text
    print(f"exposure {found[1]}")
    assert float(found[1]) <= EXPOSURE_MAX


def test_steering_census_and_memory_work_inside(chat: Service) -> None:
    with chat.hold(6) as held:
        held.wait_open()
        chat.reload()
        chat.wait_connections(1, 6)
        status = chat.status()
        assert held.finish().broken == ()
    [listener] = status["listeners"]
    new = status["generations"][0]

    assert (listener["mode"], listener["mode_reason"]) == ("steered", None)
    assert all(worker["rss_bytes"] > 1 << 20 for worker in new["workers"])


INSIDE = """
import ctypes, errno, mmap, os, pathlib, stat, subprocess, sys
syscall = ctypes.CDLL(None, use_errno=True).syscall

def refused(number, *arguments):
    return syscall(number, *arguments) == -1 and ctypes.get_errno() == errno.EPERM

def run(place):
    path = pathlib.Path(place, f"program-{os.getpid()}")
    path.write_text("#!/bin/sh\\nexit 0\\n")
    path.chmod(0o755)
    try:
        return subprocess.run([str(path)], check=False).returncode
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        path.unlink()

IO_URING_SETUP, KEYCTL, ADD_KEY = 425, 250, 248
params = ctypes.create_string_buffer(256)
print("io_uring refused", refused(IO_URING_SETUP, 4, params))
print("keys refused", refused(KEYCTL, 0, -3, 0) and refused(ADD_KEY, b"user", b"x", b"y", 1, -2))
for place in ("/tmp", "/var/tmp", "/dev/shm", os.environ["STATE_DIRECTORY"], os.environ["RUN"]):
    print("execute in", place, run(place))
pathlib.Path(os.environ["STATE_DIRECTORY"], "made").touch()
made = os.stat(os.path.join(os.environ["STATE_DIRECTORY"], "made"))
print("made", stat.filemode(made.st_mode))
print("homes", sorted(os.listdir("/home")))
pathlib.Path("/dev/shm/kept").write_text("kept")
print("all was tried", flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""
SAID = [
    "io_uring refused True",
    "keys refused True",
    "execute in /tmp EACCES",
    "execute in /var/tmp EACCES",
    "execute in /dev/shm EACCES",
    "execute in /var/lib/wssupervisor/chat EACCES",
    "execute in /run/wssupervisor/chat EACCES",
    "made -rw-------",
    "homes []",
]


@pytest.mark.parametrize("server", ["python", "node"])
def test_a_server_lives_in_the_sandbox_through_all_that_happens(new: Service, server: str) -> None:
    """Start, reload, upgrade, the supervisor's death, a recovery and a reload after it."""
    place = f"/srv/chat/releases/{server}"
    program = {"python": f"/usr/bin/python3 {place}/app.py well", "node": "/usr/bin/node server.js"}
    script = f"#!/bin/sh\nexec /usr/bin/python3 {place}/inside.py {program[server]}\n"
    new.release(server, script=script)
    new.machine.write(f"{place}/inside.py", INSIDE)
    new.machine.write(f"{place}/server.js", NODE)
    new.machine.run("useradd", "--create-home", "alice")
    variables = "NODE_PATH = '/usr/share/nodejs'\nRUN = '/run/wssupervisor/chat'\n"
    new.configure(f"[app.environment]\n{variables}")
    new.start()
    said = [
        note["MESSAGE"].partition(" | ")[2] for note in new.wait_said(1, "1.0.1 | all was tried")
    ]
    assert [line for line in SAID if line not in said] == [], said
    with new.load() as clients:
        new.reload()
        clients.more(50)
        new.ctl("upgrade")
        clients.more(50)
        before = new.worker_pids()
        wait_next(new, kill(new))
        clients.more(50)
        assert new.worker_pids() == before
        new.machine.run("kill", "-9", str(before[0]))
        new.wait_serving()
        new.reload()
        clients.more(50)
        verdict, held = clients.finish(new.cutovers)
    assert (verdict.misrouted, held.broken) == (0, ())
    new.machine.systemctl("stop", new.socket, new.service)
    assert new.machine.read("/dev/shm/kept") == "kept", "shared memory of the user is not removed"


PLACES = """
import os, sys
found = []
for place, directories, _ in os.walk("/", topdown=True):
    if os.access(place, os.W_OK):
        found.append(place)
        directories.clear()
    directories[:] = [one for one in directories if os.path.join(place, one) != "/proc"]
print("may write", *sorted(found))
print("that is all", flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""
WRITABLE = [
    "/dev/mqueue",
    "/dev/shm",
    "/run/wssupervisor/chat",
    "/tmp",
    "/var/lib/wssupervisor/chat",
    "/var/tmp",
]


def test_the_manual_lists_every_place_that_a_worker_may_write(new: Service) -> None:
    """wssupervisor(8), USERS AND RIGHTS."""
    place = "/srv/chat/releases/nosy"
    script = (
        f"#!/bin/sh\nexec /usr/bin/python3 {place}/nosy.py /usr/bin/python3 {place}/app.py well\n"
    )
    new.machine.run("chmod", "777", "/srv/chat", "/home", "/root")
    new.release("nosy", script=script)
    new.machine.write(f"{place}/nosy.py", PLACES)
    new.start()
    notes = new.wait_said(1, "1.0.1 | that is all", "1.1.1 | that is all")
    said = {note["MESSAGE"].partition(" | ")[2] for note in notes}
    manual = MANUAL.read_text()

    assert {line for line in said if line.startswith("may")} == {f"may write {' '.join(WRITABLE)}"}
    for one in WRITABLE:
        assert f"_{one.replace('/chat', '/NAME')}_" in manual


CALLS = """
import os, pathlib, resource, threading, time
os.nice(1)
os.setpriority(os.PRIO_PROCESS, 0, 15)
os.sched_setaffinity(0, {0})
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
pathlib.Path("/tmp/mine").write_text("uploaded")

def watch():
    for _ in range(600):
        pathlib.Path("/tmp/probe").write_text("x")
        if pathlib.Path("/tmp/ask").exists():
            print("/tmp has", pathlib.Path("/tmp/mine").read_text(), flush=True)
            return
        time.sleep(0.1)

threading.Thread(target=watch, daemon=True).start()
"""


def test_a_worker_may_lower_its_priority_and_keeps_its_tmp_when_the_supervisor_dies(
    new: Service,
) -> None:
    """systemd empties a PrivateTmp=yes under the living workers of a service that it restarts."""
    place = "/srv/chat/releases/calls"
    new.release("calls", script=f"#!/bin/sh\nexec python3 {place}/own.py well\n")
    new.machine.write(f"{place}/own.py", CALLS + new.machine.read(f"{place}/app.py"))
    new.start()
    before = new.worker_pids()
    wait_next(new, kill(new))
    for pid in before:
        new.machine.run("touch", f"/proc/{pid}/root/tmp/ask")

    new.wait_said(1, "1.0.1 | /tmp has uploaded", "1.1.1 | /tmp has uploaded")
    assert new.worker_pids() == before


def test_a_release_below_a_home(new: Service) -> None:
    """Homes are hidden from an instance that needed none, which is said where one is needed."""
    run = new.machine.run
    run("useradd", "--create-home", "deploy")
    run("cp", "-r", "/srv/chat/releases/one", "/home/deploy/app")
    run("chmod", "750", "/home/deploy")
    written = new.machine.read(new.config)
    new.machine.write(
        new.config,
        written.replace("/srv/chat/current/run", "/home/deploy/app/run").replace(
            "/srv/chat/current", "/home/deploy/app"
        ),
    )
    assert new.machine.systemctl("start", new.service, check=False).returncode == 1
    said = new.machine.journal("--output=cat", f"--unit={new.service}")
    assert "/home/deploy/app: no such directory; /home is hidden from this service" in said

    new.drop_in(new.service, "zz-homes", "[Service]\nProtectHome=read-only\n")
    new.machine.systemctl("daemon-reload")
    assert new.machine.systemctl("start", new.service, check=False).returncode == 1
    said = new.machine.journal("--output=cat", f"--unit={new.service}")
    assert f"user {new.account} may not enter /home/deploy (drwxr-x--- of deploy)" in said

    run("usermod", "--append", "--groups", "deploy", new.account)
    new.systemctl("restart")
    new.wait_serving()

    other = run(
        *("wssctl", "init", "other", "--listen", "127.0.0.1:8770", "--command", "run"),
        *("--directory", "/home/deploy/app"),
    )
    assert "user wss-other may not enter /home/deploy/app" in other.stderr
    assert "ProtectHome" not in new.machine.read(
        "/etc/systemd/system/wssupervisor@other.service.d/user.conf"
    )


def test_instances_have_users_of_their_own_and_cannot_read_each_others_secrets(
    new: Service,
) -> None:
    game = Service(new.machine, new.record, name="game", port=8766)
    game.release("one")
    game.init()
    game.start()
    new.start()
    assert (new.account, game.account) == ("wss-chat", "wss-game")
    run = new.machine.run
    [pid, _] = new.worker_pids()
    denied = [
        run("cat", new.config, user=game.account, check=False),
        run("cat", f"/proc/{pid}/environ", user=game.account, check=False),
        run("ls", "/var/lib/wssupervisor/chat", user=game.account, check=False),
        run("ls", "/run/wssupervisor/chat", user=game.account, check=False),
        new.ctl("reload", user=game.account, check=False),
    ]

    assert all(done.returncode for done in denied), denied
    assert run("stat", "--format=%A %U %G", new.config).stdout.split()[1:] == ["root", "wss-chat"]


def test_a_listener_in_the_private_tmp_is_warned_of(new: Service) -> None:
    new.machine.write(
        "/etc/wssupervisor/hidden.toml",
        '[app]\ncommand = ["sleep", "60"]\n[[listen]]\naddress = "unix:/tmp/hidden.sock"\n'
        '[ready]\nby = "delay"\n',
    )
    new.machine.systemctl("start", "wssupervisor@hidden.service")
    said = new.machine.journal("--output=cat", "--unit=wssupervisor@hidden.service")

    assert "nothing outside of this service can reach a listener" in said
    assert "/run/wssupervisor/hidden" in said
    assert not (new.machine.root / "tmp/hidden.sock").exists()
