"""How the storm's notes are judged."""

from examples.load.storm import Note
from examples.load.verdict import Cutover, judge, misrouted

CUTOVERS = [Cutover(10.0, 2, 9.99), Cutover(20.0, 4, 19.99)]


def note(start: float, generation: int, error: str = "") -> Note:
    return Note(start, start + 0.001, generation, 100, error)


def test_a_connection_that_began_before_a_cutover_may_be_answered_by_either_side() -> None:
    assert misrouted([note(9.9, 1), note(9.9, 2), note(19.9, 2)], CUTOVERS) == []


def test_one_that_began_after_a_cutover_and_reached_an_older_generation_is_misrouted() -> None:
    late = [note(10.1, 1), note(20.1, 2), note(20.1, 1)]

    assert misrouted([*late, note(10.1, 2), note(20.1, 4)], CUTOVERS) == late


def test_one_may_reach_the_next_generation_from_when_its_cutover_began() -> None:
    early, within = note(19.9, 4), note(19.995, 4)

    assert misrouted([early, within], CUTOVERS) == [early]


def test_a_lost_connection_is_lost_and_not_misrouted() -> None:
    verdict = judge([note(10.1, 0, "read: ECONNRESET"), note(10.2, 2)], CUTOVERS)

    assert (verdict.total, verdict.lost, verdict.misrouted) == (2, 1, 0)
    assert verdict.reasons == {"read: ECONNRESET": 1}
