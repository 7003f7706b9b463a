"""A Debian with a real systemd as its first process, in a container that a test owns.

The container ends with the process that started it, however that ends.
Each has its own processes, network (a loopback, and nothing else), control groups and file system:
an overlay in memory over trees that are made once (packaging/tree).
"""

import os
import shlex
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.load.waiting import HANG_SECONDS, wait_until

ENVIRONMENT = (
    "env",
    "--chdir=/",
    "-i",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
)

NAMESPACES = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
# In namespaces of its own, which end with it: nothing that it mounts or starts is left behind.
# nspawn's own cgroup is made here because the host may have no systemd to ask for one; and nspawn
# refuses to reboot where /run is a disk's. The shell is the first process of its pid namespace, so
# all in it ends with the shell: when standard input ends, which the owner alone holds open, however
# the owner ends. (PR_SET_PDEATHSIG would follow the thread that started the machine.)
BOOT = """
set -e
trap 'exit 143' TERM
exec 3<&0 </dev/null
{ read -r _ <&3 || kill -TERM 1; } &
exec 3<&-
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$NAME"
echo 0 > "/sys/fs/cgroup/$NAME/cgroup.procs"
mount -t tmpfs -o size=2g tmpfs "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
cd "$PLACE"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=upper,workdir=work" root
cd /
status=133 # nspawn's way to say: reboot
while [ "$status" = 133 ]; do
    status=0
    systemd-nspawn --quiet --directory="$PLACE/root" --machine="$NAME" --register=no --keep-unit \
        --private-network --boot --console=pipe --link-journal=no &
    wait "$!" || status=$? # a signal interrupts `wait`, and no command in the foreground
done
exit "$status"
"""


class Machine:
    """Boot with `with`; what is below `root` can be read and written from outside."""

    def __init__(self, lower: Sequence[Path], directory: Path) -> None:
        """`lower`: trees, the uppermost first; `directory`: for what clients write."""
        self.directory = directory
        self._lower = lower
        self._name = f"wss-{uuid.uuid4().hex[:12]}"
        self._place = Path(tempfile.mkdtemp(prefix="wss-machine-"))
        self._console = directory / f"{self._name}.console"
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """Its first process, as seen from outside."""

    def __enter__(self) -> Self:
        try:
            return self.boot()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None and self.leader:
                print(f"--- journal of the machine, the end:\n{self.journal_end()}")
        finally:
            self.close()

    def boot(self) -> Self:
        variables = {
            "NAME": self._name,
            "PLACE": str(self._place),
            "LOWER": ":".join(map(str, self._lower)),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        }
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                [*NAMESPACES, "sh", "-c", BOOT],
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,  # ends with this process: see BOOT
                stdout=console,
                stderr=console,
                start_new_session=True,  # Ctrl-C goes only to the tests
            )
        self._wait_answer()
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        assert state == "running", f"{state}\n{self.run('systemctl', '--failed').stdout}"
        return self

    def reboot(self) -> None:
        """Returns as soon as its systemd answers; units may still be starting."""
        before = self.leader
        self.systemctl("reboot", "--no-block")
        wait_until(
            lambda: not Path(f"/proc/{before}/ns/pid").exists(),
            what="the end of all in the machine",
        )
        self._wait_answer()

    def _wait_answer(self) -> None:
        wait_until(self._find_leader, what="the machine's first process")
        wait_until(self._answers, what="systemd's answer", every=0.05)

    def _find_leader(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._console.read_text(errors="replace")
        self.leader = next((pid for pid in _below(self._process.pid) if _depth(pid) > 2), 0)
        return self.leader != 0

    def _answers(self) -> bool:
        return (self.root / "run/systemd/private").exists() and (
            self.run("systemctl", "list-jobs", check=False).returncode == 0
        )

    def close(self) -> None:
        """End everything in it."""
        if self._process is not None:
            self._process.kill()  # its child, the first of a pid namespace, goes with it
            self._process.wait(HANG_SECONDS)
            assert self._process.stdin is not None
            self._process.stdin.close()
            wait_until(
                lambda: not Path(f"/proc/{self.leader}/ns/pid").exists(),
                what="the end of the machine",
            )
        self._place.rmdir()
        _remove_cgroups(self._name)

    @property
    def root(self) -> Path:
        """Its file system. Absolute symlinks in it lead astray from outside."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def network(self) -> list[str]:
        """A command before which others run in its network."""
        return ["nsenter", f"--target={self.leader}", "--net"]

    def command(self, *words: str, user: str | None = None) -> list[str]:
        """What runs these words in the machine."""
        enter = ["nsenter", f"--target={self.leader}", "--all", *ENVIRONMENT]
        return [*enter, *(["runuser", "--user", user, "--"] if user else []), *words]

    def run(
        self, *words: str, check: bool = True, within: float = HANG_SECONDS, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
        )
        if check and done.returncode != 0:
            said = done.stdout + done.stderr
            raise AssertionError(f"{shlex.join(words)}: status {done.returncode}\n{said}")
        return done

    def launch(self, *words: str, user: str | None = None) -> subprocess.Popen[str]:
        """In the background; the caller waits for it."""
        return subprocess.Popen(
            self.command(*words, user=user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file in the machine, and the directories above it."""
        where = self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        where.chmod(mode)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def systemctl(
        self, *words: str, check: bool = True, within: float = HANG_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *words, check=check, within=within)

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", f"--property={key}", unit).stdout.strip()

    def journal(self, *options: str) -> str:
        """What journalctl prints, with all that has been sent to the journal until now."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", *options).stdout

    def journal_end(self, lines: int = 60) -> str:
        return self.run("journalctl", "--no-pager", f"--lines={lines}", check=False).stdout


def _remove_cgroups(name: str) -> None:
    """Empty by now. Where the host shows no unified hierarchy there is no way to them."""
    for line in Path("/proc/mounts").read_text(encoding="ascii").splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            for directory, _, _ in os.walk(Path(where, name), topdown=False):
                Path(directory).rmdir()
            return


def _below(pid: int) -> list[int]:
    """All that descend from a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *_below(child))]


def _depth(pid: int) -> int:
    """How many pid namespaces it is in, if it is the first process of the innermost."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    numbers = next((line.split()[1:] for line in status.splitlines() if "NSpid" in line), [])
    return len(numbers) if numbers and numbers[-1] == "1" else 0
