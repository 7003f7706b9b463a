"""How little the service may do, and that everything works inside all the same."""

import re

from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

EXPOSURE_MAX = 1.6

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


def test_a_node_worker_runs_inside(new: Service) -> None:
    new.release("node", script="#!/bin/sh\nexec node server.js\n")
    new.machine.write("/srv/chat/releases/node/server.js", NODE)
    new.machine.systemctl("daemon-reload")
    new.configure("[app.environment]\nNODE_PATH = '/usr/share/nodejs'\n")
    new.start()
    with new.load() as clients:
        for _ in range(2):
            new.reload()
            clients.more(50)
        clients.assert_unnoticed(new.cutovers)


def test_what_a_worker_may_write(new: Service) -> None:
    """wssupervisor(8), USERS AND RIGHTS."""
    places = "/var/lib/wssupervisor/chat /tmp /etc /srv/chat /home /run /usr /root"
    script = (
        "#!/bin/sh\n"
        f"for place in {places}; do\n"
        '    if (: > "$place/probe") 2>/dev/null; then echo "may write $place"; fi\n'
        "done\necho that is all\nexec python3 ./app.py well\n"
    )
    new.machine.run("chmod", "777", "/srv/chat", "/home", "/root")
    new.release("nosy", script=script)
    new.start()
    notes = new.wait_said(1, "1.0.1 | that is all", "1.1.1 | that is all")
    said = {note["MESSAGE"].partition(" | ")[2] for note in notes}

    assert {line for line in said if line.startswith("may")} == {
        "may write /var/lib/wssupervisor/chat",
        "may write /tmp",
    }
    assert not (new.machine.root / "tmp/probe").exists()


CALLS = """
import os, pathlib, resource, threading, time
os.nice(1)
os.setpriority(os.PRIO_PROCESS, 0, 5)
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


def test_a_release_below_a_home_that_keeps_others_out(new: Service) -> None:
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
    assert "user wssupervisor may not enter /home/deploy (drwxr-x--- of deploy)" in said

    warned = run(
        *("wssctl", "init", "other", "--listen", "127.0.0.1:8770", "--command", "run"),
        *("--directory", "/home/deploy/app"),
    ).stderr
    assert "user wssupervisor may not enter /home/deploy/app" in warned

    run("usermod", "--append", "--groups", "deploy", "wssupervisor")
    new.systemctl("restart")
    new.wait_serving()


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
