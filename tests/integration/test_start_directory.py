"""The directory that the daemon was started in may go, come again and lead elsewhere."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings


def replaced(directory: Path) -> None:
    """As a deploy by rm and mv does it, while a shell stands there."""
    new = directory.with_name("new")
    shutil.copytree(directory, new, symlinks=True)
    shutil.rmtree(directory)
    new.rename(directory)


@pytest.mark.parametrize("ready_by", ["connect", "websocket"])
def test_reloads_and_upgrades_go_on_after_the_start_directory_was_replaced(
    settings: Settings, tmp_path: Path, ready_by: str
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    settings = replace(
        settings, extra_app='environment_files = ["chat.env"]', environment={}, ready_by=ready_by
    )
    settings.write().rename(start / "chat.toml")
    (start / "chat.env").write_text("A=1\n")
    relative = ("--config", "chat.toml", "--control", "../run/control.sock")
    control = tmp_path / "run" / "control.sock"
    with Daemon(settings, control=control, starts_in=start, relative=relative) as daemon:
        daemon.start()
        assert Path(f"/proc/{daemon.pid()}/cwd").readlink() == Path("/")
        replaced(start)

        assert daemon.reload().generation == 2
        assert daemon.ctl("upgrade").status == 0
        replaced(start)
        assert daemon.reload().generation == 3
        assert daemon.ctl("upgrade").status == 0
        assert daemon.reload().generation == 4
        assert daemon.stop() == 0
        assert not control.exists()


def test_while_the_start_directory_is_gone_a_reload_says_so_and_later_works(
    settings: Settings, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    settings.write().rename(start / "chat.toml")
    relative = ("--config", "chat.toml", "--control", "control.sock")
    with Daemon(
        settings, starts_in=start, control=start / "control.sock", relative=relative
    ) as daemon:
        daemon.start()
        (start / "chat.toml").rename(tmp_path / "away.toml")
        answer = daemon.ctl("reload")
        assert answer.status == 1
        assert f"{start}/chat.toml: no such file" in answer.err

        (tmp_path / "away.toml").rename(start / "chat.toml")
        assert daemon.reload().generation == 2


def test_a_release_without_a_directory_follows_the_symlink_that_the_shell_stood_in(
    settings: Settings,
) -> None:
    """A shell that stands in `current` names it so; the next deploy switches it."""
    current = settings.releases.current
    settings = replace(settings, command=("./run",))
    text = settings.text().replace(f'directory = "{current}"\n', "")
    settings.path.write_text(text)
    daemon = Daemon(settings, starts_in=current, variables={"PWD": str(current)})
    settings.path.write_text(text)
    with daemon:
        daemon.start()
        settings.releases.install("two")
        shutil.rmtree(settings.releases.root / "releases" / "one")
        daemon.reload()

        (active,) = [one for one in daemon.status()["generations"] if one["state"] == "active"]
        assert active["release"] == os.path.realpath(settings.releases.root / "releases" / "two")
