"""What systemd gives a service reaches its workers, which are that service."""

from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

SECRET = "postgres://chat:s3cr3t@db/chat"
SCRIPT = """\
#!/bin/sh
echo "url $DATABASE_URL, other <$OTHER>, state $STATE_DIRECTORY"
echo "token $(cat "$CREDENTIALS_DIRECTORY/token")"
exec python3 ./app.py well
"""
UNIT = f"""
[Service]
Environment=DATABASE_URL={SECRET} OTHER=x
LoadCredential=token:/etc/chat.token
"""


def test_environment_and_credentials_of_the_unit_reach_workers(new: Service) -> None:
    new.machine.write("/etc/chat.token", "t0ken\n", mode=0o600)
    new.drop_in(new.service, "environment", UNIT)
    config = new.machine.read(new.config)
    named = config.replace("[app]\n", '[app]\npass_environment = ["DATABASE_URL"]\n')
    new.machine.write(new.config, named)
    new.release("asks", script=SCRIPT)
    new.machine.systemctl("daemon-reload")
    checked = new.machine.run("wssctl", "check", new.config)
    assert "DATABASE_URL is not set in this shell" in checked.stderr
    new.start()

    said = (
        f"url {SECRET}, other <>, state /var/lib/wssupervisor/chat",
        "token t0ken",
    )
    new.wait_said(1, *(f"1.0.1 | {one}" for one in said))
    assert new.ctl("upgrade").returncode == 0
    new.reload()
    new.wait_said(2, *(f"2.0.1 | {one}" for one in said))
    assert "s3cr3t" not in new.ctl("status", "--json").stdout


def test_a_swept_run_directory_comes_back_under_systemd(chat: Service) -> None:
    """And its supervisor can still be killed: what systemd holds is of the new sockets."""
    pids = chat.worker_pids()
    directory = "/run/wssupervisor/chat"
    script = f"rm -r {directory}/* && until test -S {directory}/control.sock; do sleep 0.1; done"
    chat.machine.run("sh", "-c", script)
    chat.wait_serving()
    wait_next(chat, kill(chat))
    chat.wait_serving()

    assert pids == chat.worker_pids()
    chat.reload()
    assert not set(pids) & set(chat.worker_pids())
