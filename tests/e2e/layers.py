"""The file systems of machines: trees of Debian, and upper layers with the package installed.

`python -m tests.e2e.layers` makes those that the end-to-end tests need: no test waits for them.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "packaging/tree"
LAYERS = ROOT / ".cache/e2e"
WHEELS = ROOT / ".cache/servers"
HANG_SECONDS = 1200.0
"""Guard against a hang of mmdebstrap or apt, whose time is that of downloads. No promise."""


def package() -> Path:
    """The package that is tested; `./dev e2e` builds it."""
    found = sorted((ROOT / "dist").glob("wssupervisor_*_all.deb"))
    assert len(found) == 1, f"expected one package in dist, found {found}; run ./dev deb"
    return found[0]


def tree(name: str) -> Path:
    """Where that Debian is; it is made if need be."""
    assert os.geteuid() == 0, "containers with a systemd of their own need root"
    assert shutil.which("systemd-nspawn"), "apt-get install systemd-container"
    done = subprocess.run(
        [TREE, "path", name], stdout=subprocess.PIPE, text=True, check=True, timeout=HANG_SECONDS
    )
    return Path(done.stdout.strip())


def layered(base: Path, deb: Path, wheels: Path | None, script: str) -> list[Path]:
    """The trees of a Debian after a script, which finds the package in /deb; uppermost first."""
    parts = [deb.read_bytes(), base.name.encode(), script.encode()]
    if wheels is not None:
        parts += [path.name.encode() for path in sorted(wheels.iterdir())]
    layer = LAYERS / f"{base.name}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"
    LAYERS.mkdir(parents=True, exist_ok=True)
    with (LAYERS / f"lock-{base.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            for old in LAYERS.glob(f"{base.name}-*"):
                shutil.rmtree(old)
            new = layer.with_suffix(".new")
            binds = ["--bind", f"{deb.parent}:/deb"]
            if wheels is not None:
                binds += ["--bind", f"{wheels}:/wheels"]
            subprocess.run(
                [
                    *(str(TREE), "run", base.name.partition("-")[0], "--keep", str(new), *binds),
                    *("sh", "-c", f"dpkg --install /deb/{deb.name} && {script}"),
                ],
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=HANG_SECONDS,
            )
            new.rename(layer)
    return [layer, base]


UNITS = (
    *("systemd-logind.service", "systemd-user-sessions.service", "getty.target"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "man-db.timer"),
    "systemd-tmpfiles-clean.timer",
    *("dev-hugepages.mount", "dev-mqueue.mount", "run-lock.mount"),
    *("systemd-remount-fs.service", "systemd-sysctl.service"),
    *("systemd-tmpfiles-setup-dev-early.service", "systemd-tmpfiles-setup-dev.service"),
)
"""Of Debian, masked by `light`: no instance needs one of them."""
GENERATORS = "usr/lib/systemd/system-generators"


def light(lower: list[Path]) -> list[Path]:
    """These trees, and one above them that makes boots and daemon-reloads cheap.

    Its systemd starts no unit and no generator of Debian that no test needs, and does not take the
    first boot for one after an update. Measured: 0.14 s of processor time per boot instead of 0.35,
    0.03 s per daemon-reload instead of 0.11. `test_boot` and `test_package` boot all of Debian.
    """
    names = sorted(path.name for path in (lower[-1] / GENERATORS).iterdir())
    key = hashlib.sha256(repr((UNITS, names)).encode()).hexdigest()[:12]
    layer = LAYERS / f"light-{key}"
    with (LAYERS / "lock-light").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            new = layer.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            for kind, masked in (("system", UNITS), ("system-generators", names)):
                place = new / "etc/systemd" / kind
                place.mkdir(parents=True)
                for name in masked:
                    (place / name).symlink_to("/dev/null")
            (new / "var").mkdir()
            for place in (new / "etc", new / "var"):
                (place / ".updated").touch()  # newer than /usr: ConditionNeedsUpdate= is false
            new.rename(layer)
    return [layer, *lower]


def with_package() -> list[Path]:
    """A Debian on which the package is installed; the uppermost first."""
    return layered(tree("base"), package(), None, "true")


def with_servers() -> list[Path]:
    """And with servers: Debian's, and PyPI's newest in /opt/servers."""
    assert WHEELS.is_dir(), "run ./dev e2e, which downloads servers from PyPI"
    script = (
        "python3 -m venv --system-site-packages /opt/servers && /opt/servers/bin/pip --quiet"
        " install --no-index --no-deps /wheels/*.whl"
        " && systemctl mask nginx.service haproxy.service"
    )
    return layered(tree("servers"), package(), WHEELS, script)


if __name__ == "__main__":
    with_package()
    with_servers()
