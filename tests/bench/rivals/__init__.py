"""Other programs that reload servers, available by pip and apt, by name."""

from collections.abc import Sequence

from tests.bench.rivals.fronts import Haproxy, Nginx
from tests.bench.rivals.keepers import BareUvicorn, Circus, ServerStarter, Wssupervisor
from tests.bench.rivals.rival import Rival
from tests.bench.rivals.servers import Gunicorn, Hypercorn, Uvicorn

RIVALS: dict[str, type[Rival]] = {
    kind.name: kind
    for kind in (Uvicorn, Gunicorn, Hypercorn, Circus, ServerStarter, Nginx, Haproxy)
}


def kinds(names: Sequence[str]) -> list[type[Rival]]:
    """Return these, after the ones that they are compared with."""
    return [BareUvicorn, Wssupervisor, *(RIVALS[name] for name in names)] if names else []


def needs(names: Sequence[str]) -> list[str]:
    """Return missing packages as lines "pip NAME" and "deb NAME"."""
    lacking = [kind for kind in kinds(names) if kind.missing() is not None]
    pip = dict.fromkeys(f"pip {name}" for kind in lacking for name in kind.pip)
    deb = dict.fromkeys(f"deb {name}" for kind in lacking for name in kind.deb)
    return [*pip, *deb]
