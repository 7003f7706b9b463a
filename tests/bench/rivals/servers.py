"""Servers that manage their own worker processes."""

import signal

from tests.bench.rivals.rival import WORKERS, Rival, venv_program
from tests.bench.rivals.tools import pip_version
from tests.harness.settings import HOST


class Uvicorn(Rival):
    name = "uvicorn"
    programs = ("uvicorn",)
    pip = ("uvicorn", "websockets")
    reload_command = "uvicorn --workers 2, kill -HUP"

    @classmethod
    def version(cls) -> str:
        return pip_version("uvicorn", "websockets")

    def command(self) -> list[str]:
        address = ["--host", HOST, "--port", str(self.port)]
        return [venv_program("uvicorn"), "app:app", "--workers", str(WORKERS), *address]

    def reload(self) -> float | None:
        self.signal(signal.SIGHUP)
        return None


class Gunicorn(Rival):
    name = "gunicorn"
    programs = ("gunicorn",)
    pip = ("gunicorn", "uvicorn-worker", "uvicorn", "websockets")
    reload_command = "gunicorn -k uvicorn_worker.UvicornWorker -w 2, kill -HUP"

    @classmethod
    def version(cls) -> str:
        return pip_version("gunicorn", "uvicorn-worker", "uvicorn")

    def command(self) -> list[str]:
        worker = ["-k", "uvicorn_worker.UvicornWorker", "-w", str(WORKERS)]
        return [venv_program("gunicorn"), *worker, "-b", f"{HOST}:{self.port}", "app:app"]

    def reload(self) -> float | None:
        self.signal(signal.SIGHUP)
        return None


class Hypercorn(Rival):
    name = "hypercorn"
    programs = ("hypercorn",)
    pip = ("hypercorn",)
    reload_command = "hypercorn -w 2, kill -HUP"
    note = "It stops all workers before it starts new ones."

    @classmethod
    def version(cls) -> str:
        return pip_version("hypercorn", "wsproto")

    def command(self) -> list[str]:
        address = f"{HOST}:{self.port}"
        return [venv_program("hypercorn"), "-w", str(WORKERS), "-b", address, "app:app"]

    def reload(self) -> float | None:
        self.signal(signal.SIGHUP)
        return None
