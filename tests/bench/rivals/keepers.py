"""Supervisors that pass a listening socket on to uvicorn: wssupervisor itself, and others."""

import json
import signal
from dataclasses import replace
from pathlib import Path

from tests.bench.bare import Bare
from tests.bench.rivals.rival import WORKERS, Rival, RivalFailed, venv_program
from tests.bench.rivals.tools import ASGI, find, pip_version, said_version
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import HOST, Settings
from wssupervisor import __version__

UVICORN = ("uvicorn", "websockets")
BY_FD = ["app:app", "--fd"]


def bare_uvicorn(directory: Path, release_file: Path, port: int | None = None) -> Bare:
    """Two uvicorn processes without a supervisor."""
    told = {"PYTHONPATH": str(ASGI), "BENCH_RELEASE": str(release_file)}
    command = [venv_program("python"), "-m", "uvicorn", *BY_FD, "3"]
    return Bare(command, WORKERS, directory, told, port)


class BareUvicorn(Rival):
    """Not a rival: the reference for the CPU per message of the others."""

    name = "bare"
    programs = ("uvicorn",)
    pip = UVICORN
    reload_command = "two uvicorn --fd 3, each with its own SO_REUSEPORT socket"
    note = "They are never reloaded."
    reloads = False

    @classmethod
    def version(cls) -> str:
        return f"uvicorn {pip_version(*UVICORN)}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self._bare = bare_uvicorn(self.directory / "workers", self.release_file, self.port)
        self.wait_serving(self.port)

    def reload(self) -> float | None:
        raise NotImplementedError

    def roots(self) -> tuple[int, ...]:
        return tuple(self._bare.pids)

    def close(self) -> None:
        self._bare.close()


class Wssupervisor(Rival):
    name = "wssupervisor"
    programs = ("uvicorn",)
    pip = UVICORN
    reload_command = "wssupervisor --workers 2 -- uvicorn app:app --fd 3, wssctl reload"
    note = "cutover includes `stable`, here 0.2 s."

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        releases = Releases(directory)
        releases.install("bench")
        settings = Settings(f"bench-{directory.parent.name}-r", releases)
        self._daemon = Daemon(
            replace(
                settings,
                ws_port=self.port,
                workers=WORKERS,
                stable="200ms",
                listeners=("ws",),
                command=(venv_program("uvicorn"), *BY_FD, "3"),
                environment={"PYTHONPATH": str(ASGI), "BENCH_RELEASE": str(self.release_file)},
            )
        )

    @classmethod
    def version(cls) -> str:
        return f"{__version__}, uvicorn {pip_version(*UVICORN)}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self._daemon.start()
        self.wait_serving(self.port)

    def reload(self) -> float | None:
        answer = self._daemon.ctl("reload", "--json")
        if answer.status:
            raise RivalFailed(f"wssctl reload failed: {answer.err}")
        return float(json.loads(answer.out)["cutover_monotonic"])

    def roots(self) -> tuple[int, ...]:
        return (self._daemon.process.pid,)

    def close(self) -> None:
        with self._daemon:
            self._daemon.stop()


CIRCUS = """\
[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub
statsd = False

[watcher:web]
cmd = {uvicorn} app:app --fd $(circus.sockets.web)
numprocesses = {workers}
use_sockets = True
copy_env = True

[socket:web]
host = {host}
port = {port}
"""


class Circus(Rival):
    name = "circus"
    programs = ("circusd", "uvicorn")
    pip = ("circus", *UVICORN)
    reload_command = "uvicorn --fd on a circus socket, circusctl reload web"

    @classmethod
    def version(cls) -> str:
        return pip_version("circus", *UVICORN)

    def command(self) -> list[str]:
        config = self.directory / "circus.ini"
        config.write_text(
            CIRCUS.format(
                directory=self.directory,
                uvicorn=venv_program("uvicorn"),
                workers=WORKERS,
                host=HOST,
                port=self.port,
            )
        )
        return [venv_program("circusd"), str(config)]

    def reload(self) -> float | None:
        endpoint = ["--endpoint", f"ipc://{self.directory}/endpoint"]
        self.run([venv_program("circusctl"), *endpoint, "reload", "web"])
        return None


class ServerStarter(Rival):
    name = "server-starter"
    programs = ("start_server", "uvicorn")
    pip = UVICORN
    deb = ("libserver-starter-perl",)
    reload_command = "start_server --port -- uvicorn --workers 2 --fd N, kill -HUP"

    @classmethod
    def version(cls) -> str:
        return f"{said_version(['perl', str(find('start_server')), '--version'])}"

    def command(self) -> list[str]:
        starter = ["perl", str(find("start_server")), f"--port={HOST}:{self.port}", "--"]
        uvicorn = f"{venv_program('uvicorn')} app:app --workers {WORKERS}"
        return [*starter, "sh", "-c", f'exec {uvicorn} --fd "${{SERVER_STARTER_PORT##*=}}"']

    def reload(self) -> float | None:
        self.signal(signal.SIGHUP)
        return None
