"""Health and metrics of an instance under systemd, in its sandbox, over restarts and deaths."""

from examples.load.waiting import wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

ADDRESS = "127.0.0.1:9464"
HTTP = f'[http]\naddress = "{ADDRESS}"\n'
ASK = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1])
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode(), end="")
"""


def ask(service: Service, path: str) -> tuple[str, str]:
    """Status and body; "" without an answer."""
    url = f"http://{ADDRESS}{path}"
    done = service.machine.run("python3", "-c", ASK, url, check=False)
    status, _, body = done.stdout.partition("\n")
    return status, body


def value(service: Service, series: str) -> float:
    """Of one of the metrics."""
    status, body = ask(service, "/metrics")
    assert status == "200"
    return float(next(line for line in body.splitlines() if line.startswith(series)).split()[-1])


def test_it_answers_in_its_sandbox_over_reloads_restarts_and_deaths(new: Service) -> None:
    new.configure(HTTP)
    new.start()
    assert ask(new, "/readyz") == ("200", "ready\n")
    new.release("two")
    new.systemctl("reload")
    assert value(new, 'wssupervisor_reloads_total{attempt="reload",verdict="succeeded"}') == 1

    pid = kill(new)
    wait_next(new, pid)
    wait_until(lambda: ask(new, "/readyz") == ("200", "ready\n"), what="the next", every=0.2)
    assert new.main_pid() != pid
    assert value(new, 'wssupervisor_reloads_total{attempt="reload",verdict="succeeded"}') == 1
    assert value(new, "wssupervisor_supervisor_recoveries_total") == 1

    new.systemctl("restart")
    new.wait_serving()
    assert ask(new, "/readyz") == ("200", "ready\n")
    assert value(new, "wssupervisor_supervisor_recoveries_total") == 0
    new.machine.systemctl("stop", new.socket, new.service)
    assert ask(new, "/livez") == ("", "")


def test_a_socket_beside_the_control_socket_is_for_the_same_group(new: Service) -> None:
    path = f"/run/wssupervisor/{new.name}/http.sock"
    new.configure(f'[http]\naddress = "unix:{path}"\n')
    new.start()
    found = new.machine.run("stat", "--format", "%A %U %G", path).stdout.split()
    control = new.machine.run(
        *("stat", "--format", "%A %U %G", f"/run/wssupervisor/{new.name}/control.sock")
    )

    assert found == ["srw-rw----", new.account, new.account]
    assert control.stdout.split() == found
