"""The blocks of the documents that want the package and a systemd, typed on such a machine."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.docs.blocks import DOCUMENTS, Step, steps
from tests.docs.sandbox import Done
from tests.docs.test_blocks import judge
from tests.e2e.machine import Machine

BUILD = "./dev deb"
"""Done before, by the tests' own fixture: the package is in dist."""

REMEMBERS = """
cd "$(cat /root/.place 2>/dev/null || echo /root)"
{{
{command}
}} >/root/.said 2>&1
status=$?
pwd >/root/.place
cat /root/.said
exit $status
"""
"""Not to a pipe: what runs in the background would hold it."""


def follow(machine: Machine, todo: Sequence[Step]) -> Iterator[Done]:
    """One after the other, each where the one before has gone to."""
    for step in todo:
        command = step.command
        if step.makes is not None:
            text, name = shlex.quote(command), shlex.quote(step.makes)
            command = f"mkdir -p $(dirname {name}) && printf %s {text} >{name}"
        if command == BUILD:
            continue
        script = REMEMBERS.format(command=command)
        done = machine.run("bash", "-c", script, check=False)
        yield Done(step, done.returncode, done.stdout + done.stderr)


def of(document: str, place: str) -> list[Step]:
    return [step for step in steps(document) if step.place == place]


def assert_does_what_it_says(machine: Machine, todo: Sequence[Step]) -> None:
    wrong = [complaint for done in follow(machine, todo) if (complaint := judge(done))]

    assert not wrong, "\n\n".join(wrong)


def documents(place: str) -> list[str]:
    return [document for document in DOCUMENTS if of(document, place)]


@pytest.mark.parametrize("document", documents("systemd"))
def test_what_a_document_does_with_systemd(bare: Machine, deb: Path, document: str) -> None:
    """From a machine without the package on; a guide assumes that it is installed."""
    dist = bare.root / "root/dist"
    dist.mkdir()
    (dist / deb.name).write_bytes(deb.read_bytes())
    todo = of(document, "systemd")
    if document != "README.md":
        install = f"apt-get install --yes /root/dist/{deb.name}"
        assert bare.run("bash", "-c", install).returncode == 0
    assert_does_what_it_says(bare, todo)


@pytest.mark.slow("the guide's script waits for the leave of two hosts")
@pytest.mark.parametrize("document", documents("servers"))
def test_what_a_document_does_with_servers_and_proxies(
    server_machine: Machine, document: str
) -> None:
    assert_does_what_it_says(server_machine, of(document, "servers"))
