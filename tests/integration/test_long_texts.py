"""Reasons of any length: a reload fails with its reason, and no later request fails for it."""

import json
from dataclasses import replace
from pathlib import Path

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.control.client import Client
from wssupervisor.runtime.history.entries import LINE_BYTES_MAX

KEYS = 3000
LONG = "x" * 100_000


def test_thousands_of_mistakes_fail_a_reload_and_nothing_else(settings: Settings) -> None:
    keys = "".join(f"key_{n} = 1\n" for n in range(KEYS))
    with Daemon(settings) as daemon:
        daemon.start()
        settings.path.write_text(settings.text() + keys)
        refused = daemon.ctl("reload")
        shown = [daemon.ctl(*words) for words in (["status"], ["events"], ["history"])]
        settings.write()
        daemon.reload()
        after = [daemon.ctl(*words) for words in (["status"], ["events"], ["history"])]
        checked = daemon.ctl("check", str(settings.path))

        assert refused.status == 1
        assert f"cannot be used ({KEYS} mistakes):" in refused.err
        assert "key_0" in refused.err
        assert "more left out; `wssctl check FILE` shows all" in refused.err
        assert {one.status for one in [*shown, *after, checked]} == {0}
        assert "reload failed" in shown[1].out


def test_a_name_of_any_length_is_cut_in_a_reason(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        replace(settings, command=(f"/{LONG}",)).write()
        refused = daemon.ctl("reload")

        assert refused.status == 1
        assert "characters left out]" in refused.err
        assert len(refused.err) < 10_000
        assert daemon.ctl("events").status == 0


def test_a_note_from_before_that_is_too_long_is_left_out_and_the_others_shown(
    settings: Settings,
) -> None:
    """The record may be of another version."""
    with Daemon(settings) as daemon:
        note = {
            "at": "2026-01-01T00:00:00.000Z",
            "kind": "reload-failed",
            "reload": "r1",
            "attempt": "reload",
        }
        room = LINE_BYTES_MAX - len(json.dumps({**note, "reason": ""}))
        lines = [json.dumps({**note, "reason": LONG[:length]}) for length in (room + 1, room)]
        Path(f"{daemon.control}.events").write_text("\n".join([*lines, ""]))
        daemon.start()
        notes: list[dict[str, object]] = []
        Client(str(daemon.control)).call("events", {}, lambda event: notes.append(event["note"]))

        assert [str(one["reason"]) for one in notes if "reason" in one] == [LONG[:room]]
        assert notes[-1]["kind"] == "started"


def test_what_a_release_is_not_pinned_in_is_listed_up_to_a_length(settings: Settings) -> None:
    latest = settings.releases.root / "latest"
    latest.symlink_to(settings.releases.current)
    many = {f"V{n}": f"{latest}/{n}" for n in range(1000)}
    with Daemon(replace(settings, environment=many)) as daemon:
        daemon.start()
        done = daemon.ctl("reload", "--json")

        assert done.status == 0
        assert len(done.document["warnings"]) < 100
        assert "more left out; `wssctl check FILE` shows all" in done.document["warnings"][-1]
