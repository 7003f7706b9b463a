"""What a release cannot be pinned in is named, with its place; nothing else is."""

from pathlib import Path

import pytest

from wssupervisor.config.model import App, Config, Listen
from wssupervisor.fleet.model import Release
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.releases.unpinned import unpinned


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A symlink to a release with a virtual environment, below a symlink that is never switched."""
    real = tmp_path / "disk" / "releases" / "41"
    (real / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "srv").symlink_to("disk")
    (real / "venv" / "bin" / "serve").write_text("#!/usr/bin/env python3\n")
    (real / "venv" / "bin" / "serve").chmod(0o755)
    (real / "venv" / "bin" / "python").symlink_to("/bin/sh")
    (real / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.13\n")
    (tmp_path / "disk" / "shared").mkdir()
    (real / "shared").symlink_to("../../shared")
    link = tmp_path / "srv" / "current"
    link.symlink_to("releases/41")
    return link


def release(current: Path, *words: str, **environment: str) -> Release:
    app = App(words, str(current), environment=tuple(environment.items()))
    return resolve(Config("chat", None, app, (Listen("ws", None),)), {"PATH": "/usr/bin:/bin"})


def test_a_release_of_one_piece_has_nothing_to_say(current: Path) -> None:
    for program in ("venv/bin/serve", "venv/bin/python", f"{current}/venv/bin/python"):
        found = release(
            current,
            program,
            f"--conf={current}/chat.conf",
            "venv/lib",
            "/etc/passwd",
            "shared/x",
            "http://example.org/x",
            PYTHONPATH=f"{current}/lib:{current}/vendor",
        )

        assert unpinned(found) == []


def script(current: Path, text: str) -> Path:
    (current / "venv" / "bin" / "serve").write_text(text)
    return (current / "venv" / "bin" / "serve").resolve()


def test_an_interpreter_line_through_the_symlink_is_named(current: Path) -> None:
    file = script(current, f"#!{current}/venv/bin/python -I\nimport chat\n")
    (found,) = unpinned(release(current, "venv/bin/serve"))

    assert found.startswith(f"{file}, line 1: {current}/venv/bin/python leads into the release")
    assert f"through {current.parent.resolve()}/current, which the next deploy may switch" in found


def test_an_interpreter_in_the_second_line_is_named(current: Path) -> None:
    """As pip writes it where the path is too long for the kernel."""
    script(current, f"""#!/bin/sh\n'''exec' "{current}/venv/bin/python" "$0" "$@"\n' '''\n""")
    (found,) = unpinned(release(current, "venv/bin/serve"))

    assert f"serve, line 2: {current}/venv/bin/python leads into the release" in found


def test_links_and_files_of_a_virtual_environment_are_named(current: Path) -> None:
    venv = current / "venv"
    (current / "bin").mkdir()
    (current / "bin" / "python3").symlink_to("/bin/sh")
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(f"{current}/bin/python3")
    (venv / "pyvenv.cfg").write_text(f"home = {current}/bin\n")
    packages = venv / "lib" / "python3.13" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "__editable__.chat.pth").write_text(f"{current}/src\nimport os\n")
    found = unpinned(release(current, "venv/bin/python"))

    places = ("[app] command: ", "pyvenv.cfg: ", ".pth: ")
    assert len(places) == len(found)
    assert all(place in one for place, one in zip(places, found, strict=True))


def test_a_program_that_is_a_link_back_through_the_symlink_is_named(current: Path) -> None:
    (current / "venv" / "bin" / "chat").symlink_to(f"{current}/venv/bin/serve")
    (found,) = unpinned(release(current, "venv/bin/chat"))

    assert found.startswith("[app] command: ")


def test_another_symlink_into_the_release_is_named(current: Path) -> None:
    (current.parent / "latest").symlink_to("releases/41")
    found = unpinned(
        release(
            current,
            "venv/bin/serve",
            f"--conf={current.parent}/latest/conf",
            "../../current/x",
            LIB=f"/usr/lib:{current.parent}/latest/lib",
        )
    )

    assert len(found) == 3
    assert all("leads into the release through" in one for one in found)
    assert "variable LIB: " in found[2]
    assert "/usr/lib" not in found[2]


def test_a_loop_of_links_is_no_way(current: Path) -> None:
    (current / "loop").symlink_to("loop")

    assert unpinned(release(current, "venv/bin/serve", "loop/x", f"{current.parent}/none/x")) == []
