"""Proxies in front of uvicorn: a reload starts new workers and points the proxy to them."""

import os
import signal
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from tests.bench.bare import Bare
from tests.bench.rivals.keepers import UVICORN, bare_uvicorn
from tests.bench.rivals.rival import WORKERS, Rival
from tests.bench.rivals.tools import find, said_version
from tests.harness.settings import HOST

STEPS = "Start two new uvicorn processes, wait until they answer, then"
LATER = "The old workers must be stopped separately, once they are known to be idle."


class Front(Rival):
    """Keeps the old workers until the clients of a reload have gone."""

    programs: ClassVar[tuple[str, ...]] = ("uvicorn",)
    pip = UVICORN

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._backends: list[Bare] = []
        self._number = 0

    @abstractmethod
    def configure(self, port: int) -> None:
        """Point the configuration of the proxy to the workers behind that port."""

    def start(self) -> None:
        self._add_backend()
        super().start()

    def _add_backend(self) -> None:
        self._number += 1
        backend = bare_uvicorn(self.directory / f"workers-{self._number}", self.release_file)
        self._backends.append(backend)
        self.wait_serving(backend.port)
        self.configure(backend.port)

    def reload(self) -> float | None:
        self._add_backend()
        self.tell()
        return None

    @abstractmethod
    def tell(self) -> None:
        """Make the proxy read its configuration again."""

    def roots(self) -> tuple[int, ...]:
        return (*super().roots(), *(pid for one in self._backends for pid in one.pids))

    def settle(self) -> None:
        *old, new = self._backends
        self._backends = [new]
        for one in old:
            one.close()

    def close(self) -> None:
        super().close()
        for one in self._backends:
            one.close()


NGINX = """\
{user}
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            proxy_pass http://{host}:{backend};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class Nginx(Front):
    name = "nginx"
    programs = ("nginx", "uvicorn")
    deb = ("nginx-light",)
    reload_command = f"{STEPS} nginx -s reload"
    note = LATER

    @classmethod
    def version(cls) -> str:
        return said_version([str(find("nginx")), "-v"])

    def configure(self, port: int) -> None:
        (self.directory / "nginx.conf").write_text(
            NGINX.format(
                user="user root;" if os.geteuid() == 0 else "",
                workers=WORKERS,
                directory=self.directory,
                host=HOST,
                port=self.port,
                backend=port,
            )
        )

    def _nginx(self, *arguments: str) -> list[str]:
        place = ["-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]
        return [str(find("nginx")), *place, "-e", str(self.directory / "error.log"), *arguments]

    def command(self) -> list[str]:
        return self._nginx("-g", "daemon off;")

    def tell(self) -> None:
        self.run(self._nginx("-s", "reload"))


HAPROXY = """\
global
    maxconn 8192
    nbthread {workers}
    stats socket {directory}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend ws
    bind {host}:{port} backlog 4096
    default_backend workers
backend workers
    server one {host}:{backend}
"""


class Haproxy(Front):
    name = "haproxy"
    programs = ("haproxy", "uvicorn")
    deb = ("haproxy",)
    reload_command = f"{STEPS} kill -USR2 (haproxy -W)"
    note = LATER

    @classmethod
    def version(cls) -> str:
        return said_version([str(find("haproxy")), "-v"])

    def configure(self, port: int) -> None:
        (self.directory / "haproxy.cfg").write_text(
            HAPROXY.format(
                workers=WORKERS,
                directory=self.directory,
                host=HOST,
                port=self.port,
                backend=port,
            )
        )

    def command(self) -> list[str]:
        config = str(self.directory / "haproxy.cfg")
        return [str(find("haproxy")), "-W", "-f", config, "-p", str(self.directory / "pid")]

    def tell(self) -> None:
        self.signal(signal.SIGUSR2)
