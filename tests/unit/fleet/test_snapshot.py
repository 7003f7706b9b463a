"""The saved state of the fleet: what is read back, and what is refused."""

import json
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import pytest

from tests.unit.fleet.driven import POLICY, draining, serving, worker
from wssupervisor.fleet.events import Recovered
from wssupervisor.fleet.model import Check, ReadyBy, Release
from wssupervisor.fleet.orders import Kill, Signal
from wssupervisor.fleet.snapshot import (
    SHOWN_CHARS,
    VERSION,
    SnapshotInvalid,
    dump,
    load,
    plain,
    typed,
)


def test_a_state_that_lacks_a_field_is_refused() -> None:
    data = dump(draining().core)
    del data["state"]["generations"]["1"]["forced"]

    with pytest.raises(SnapshotInvalid, match="cannot be read: KeyError\\('forced'\\)"):
        load(data)


def test_a_snapshot_of_another_version_is_refused() -> None:
    data = dump(serving().core) | {"version": 99}

    with pytest.raises(SnapshotInvalid, match="found snapshot version 99"):
        load(data)


def test_a_torn_snapshot_is_refused() -> None:
    data = dump(serving().core)
    del data["state"]["slots"]

    with pytest.raises(SnapshotInvalid, match="cannot be read"):
        load(data)


def test_pairs_enums_and_infinity_are_read_back() -> None:
    fleet = serving()
    release = Release(("chat", "-v"), "/srv/41", (("TOKEN", "x"), ("PORT", "80")))
    check = Check(ReadyBy.HTTP, "ws", headers=(("Host", "a"),))
    generation = fleet.state.generations[1]
    generation.release = release
    generation.policy = replace(POLICY, check=check, drain_timeout=inf)
    data = json.loads(json.dumps(dump(fleet.core)))
    found = load(data).state

    assert found == fleet.state
    assert data["state"]["generations"]["1"]["policy"]["drain_timeout"] == "inf"
    assert found.generations[1].policy.check == check


def test_a_number_is_read_back_as_what_the_field_is() -> None:
    data = dump(serving().core)
    data["state"]["started_at"] = 7
    found = load(data).state.started_at

    assert (found, type(found)) == (7.0, float)


def test_a_pair_with_a_third_part_is_refused() -> None:
    fleet = serving()
    fleet.state.generations[1].release = Release(("chat",), "/srv/41", (("TOKEN", "x"),))
    data = dump(fleet.core)
    data["state"]["generations"]["1"]["release"]["environment"][0].append("y")

    with pytest.raises(SnapshotInvalid, match="cannot be read"):
        load(data)


def test_a_long_reason_is_cut() -> None:
    data = dump(serving().core)
    data["state"]["started_at"] = "x" * 1000

    with pytest.raises(SnapshotInvalid) as caught:
        load(data)
    assert len(str(caught.value)) == len("snapshot cannot be read: ") + SHOWN_CHARS == 225


def test_a_missing_field_is_a_reason_to_refuse() -> None:
    data = dump(serving().core)
    worker = next(iter(data["state"]["generations"]["1"]["workers"].values()))
    del worker["pid"]

    with pytest.raises(SnapshotInvalid):
        load(data)


def test_a_value_of_any_type_is_left_as_it_is() -> None:
    assert typed(Any, {"a": [1]}) == {"a": [1]}


def test_the_version_is_the_first_and_known_by_its_number() -> None:
    assert VERSION == 1
    with pytest.raises(SnapshotInvalid, match="found snapshot version None, expected 1"):
        load({})


def orders(*found: Signal | Kill) -> Recovered:
    """An event with a field whose items are of several types."""
    return Recovered("2", "1", {worker(1): 7}, {}, found)


def test_a_member_of_a_union_is_stored_with_its_type_and_read_back_as_that() -> None:
    event = orders(Signal(worker(1), "SIGTERM"), Kill(worker(1)))
    data = json.loads(json.dumps(plain(event)))

    assert data["orders"] == [
        {"type": "Signal", "worker": "1.0.1", "name": "SIGTERM", "rest": False},
        {"type": "Kill", "worker": "1.0.1"},
    ]
    assert typed(Recovered, data) == event


def test_only_members_of_unions_are_stored_with_their_type() -> None:
    assert plain(Kill(worker(1))) == {"worker": "1.0.1"}
    assert "type" not in str(dump(serving().core))


def test_an_unknown_member_of_a_union_is_refused() -> None:
    data = plain(orders(Kill(worker(1))))
    data["orders"][0]["type"] = "Pardon"

    with pytest.raises(KeyError, match="Pardon"):
        typed(Recovered, data)


def test_none_is_read_back_only_as_what_may_be_none() -> None:
    assert typed(int | None, None) is None
    assert typed(int | None, 7) == 7
    with pytest.raises(TypeError):
        typed(Signal | Kill, None)


@dataclass(frozen=True)
class Pair:
    """Parts of other types, and of types in turn, which the fleet's state has not now."""

    limit: tuple[str, float]
    order: Signal | Kill | None
    orders: dict[str, Signal | Kill]
    extra: Any = None


def test_each_part_of_a_pair_is_stored_as_its_own_type() -> None:
    pair = Pair(("drain", inf), Kill(worker(1)), {"kill": Kill(worker(1))}, {"a": [1]})
    data = plain(pair)

    assert data == {
        "limit": ["drain", "inf"],
        "order": {"type": "Kill", "worker": "1.0.1"},
        "orders": {"kill": {"type": "Kill", "worker": "1.0.1"}},
        "extra": {"a": [1]},
    }
    assert typed(Pair, json.loads(json.dumps(data))) == pair


def test_a_member_of_a_union_may_be_none_if_the_union_says_so() -> None:
    pair = Pair(("drain", 1.0), None, {})

    assert plain(pair) == {"limit": ["drain", 1.0], "order": None, "orders": {}, "extra": None}
    assert typed(Pair, plain(pair)) == pair


def test_a_pair_that_lacks_a_part_is_not_stored() -> None:
    with pytest.raises(ValueError, match="shorter"):
        plain(Pair(("drain",), None, {}))  # type: ignore[arg-type]


def test_the_data_of_a_snapshot_is_its_own() -> None:
    fleet = serving()
    data = dump(fleet.core)
    fleet.state.generations[1].workers.clear()
    fleet.state.slots.clear()

    assert list(data["state"]["generations"]["1"]["workers"]) == ["1.0.1", "1.1.1"]
    assert data["state"]["slots"]
