"""What the journal has of an instance: fields to search by, and what workers wrote."""

import re

from examples.load.waiting import wait_until
from tests.e2e.service import Service
from wssupervisor.logging import MESSAGE_IDS

TALKS = '#!/bin/sh\necho "cache is warm"\nexec python3 ./app.py well\n'


def test_messages_carry_their_fields_and_fixed_ids(chat: Service) -> None:
    chat.reload()
    chat.release("bad", "fails_at_once")
    chat.systemctl("reload", check=False)
    chat.wait_alone()
    chat.machine.systemctl("stop", chat.socket, chat.service)
    by_id = {note.get("MESSAGE_ID"): note for note in chat.journal()}
    cutover = by_id[MESSAGE_IDS["cutover"]]
    failed = by_id[MESSAGE_IDS["reload-failed"]]

    for kind in ("started", "reload-begun", "worker-exited", "generation-retired", "stopped"):
        assert by_id[MESSAGE_IDS[kind]]["WSS_INSTANCE"] == "chat"
    assert (cutover["WSS_GENERATION"], cutover["WSS_RELOAD"]) == ("2", "r1")
    assert cutover["PRIORITY"] == "6"
    assert (failed["WSS_RELOAD"], failed["PRIORITY"]) == ("r2", "4")
    assert failed["_SYSTEMD_UNIT"] == chat.service
    assert failed["SYSLOG_IDENTIFIER"] == "wssupervisor"


def test_what_a_worker_writes_is_there_with_worker_and_generation(new: Service) -> None:
    new.release("talks", script=TALKS)
    new.start()
    new.reload()
    lines = {"2.0.1 | cache is warm", "2.1.1 | cache is warm"}
    said = [note for note in new.wait_said(2, *lines) if "cache" in note["MESSAGE"]]
    shown = new.machine.journal(f"--unit={new.service}", "--output=cat")

    assert {note["MESSAGE"] for note in said} == lines
    assert {note["_SYSTEMD_UNIT"] for note in said} == {new.service}
    assert {int(note["WSS_WORKER_PID"]) for note in said} == set(new.worker_pids())
    assert "\n1.0.1 | cache is warm\n" in shown


def test_the_catalogue_explains_a_failed_reload(chat: Service) -> None:
    chat.release("bad", "fails_at_once")
    chat.systemctl("reload", check=False)
    text = chat.machine.journal("--catalog", f"--unit={chat.service}")

    assert "Subject: A reload of instance chat failed" in text
    assert "Reload r1 changed nothing" in text


def test_the_status_line_tells_generations_and_drain(chat: Service) -> None:
    def line() -> str:
        return chat.machine.show(chat.service, "StatusText")

    def wait_line(pattern: str) -> None:
        """A status request has the connections counted; at first a probe's may be among them."""
        wait_until(
            lambda: chat.status() and re.search(pattern, line()),
            what=repr(pattern),
            every=0.1,
        )

    wait_line("serving; generation 1 active, 2 workers, 0 connections")
    with chat.hold(7) as held:
        held.wait_open()
        chat.reload()
        wait_line(r"generation 1 draining, 2 workers, \d+ -> 7 connections")
        assert held.finish().broken == ()
    chat.wait_alone()
    wait_line("serving; generation 2 active, 2 workers, 0 connections")
    assert "draining" not in line()
    chat.release("bad", "fails_at_once")
    chat.systemctl("reload", check=False)
    assert line().startswith("serving; generation 2 active, 2 workers, 0 connections; ")
    assert "; last reload FAILED: worker " in line()


FLOOD = """#!/bin/sh
seq --format='flood %.0f' 40000
echo the last of the flood
exec python3 ./app.py well
"""


def test_a_worker_that_floods_the_journal_does_not_hide_the_supervisors_words(
    new: Service,
) -> None:
    """journald's own limit is a unit's, 10,000 entries in half a minute."""
    new.release("flood", script=FLOOD)
    new.start()
    new.reload()
    notes = new.journal()
    said = {note.get("MESSAGE_ID") for note in notes}
    lines = sum("flood" in note["MESSAGE"] for note in notes)
    print(f"{lines} lines of 160,000")

    for kind in ("started", "reload-begun", "cutover"):
        assert MESSAGE_IDS[kind] in said, kind
    assert lines < 60_000, "the journal is not filled with them"
    assert "Suppressed" not in new.machine.journal("--output=cat", "--identifier=systemd-journald")
