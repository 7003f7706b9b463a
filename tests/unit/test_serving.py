"""Which process of a tree accepted which connection: the one that had it first."""

import pytest

from wssupervisor.runtime.workers.serving import Acceptor, Serving

MAIN, HELPER, OTHER = 10, 20, 30
ONE, TWO = 1001, 1002
NONE: frozenset[int] = frozenset()


def test_what_the_main_process_accepted_and_let_go_is_only_held() -> None:
    serving = Serving(MAIN)
    both = {MAIN: {ONE: 7, TWO: 8}, HELPER: {ONE: 7}}

    assert serving.look(both, {ONE, TWO}, NONE) == {}

    later = {MAIN: {TWO: 8}, HELPER: {ONE: 7}, OTHER: {ONE: 7}}

    assert serving.look(later, {ONE, TWO}, {ONE}) == {ONE: {HELPER, OTHER}}


def test_a_descriptor_that_was_passed_on_to_be_served_is_served() -> None:
    serving = Serving(MAIN)
    serving.look({MAIN: {ONE: 7}, HELPER: {}}, {ONE}, NONE)

    assert serving.look({MAIN: {}, HELPER: {ONE: 5}}, {ONE}, {ONE}) == {}


def test_children_that_accept_hold_what_is_theirs_also_when_the_client_is_half_gone() -> None:
    serving = Serving(MAIN)
    serving.took_probe({HELPER})

    assert serving.acceptor is Acceptor.OTHERS
    assert serving.look({MAIN: {}, HELPER: {ONE: 7}}, {ONE}, {ONE}) == {}
    assert serving.look({MAIN: {}, HELPER: {ONE: 7}, OTHER: {ONE: 7}}, {ONE}, {ONE}) == {}
    assert serving.look({MAIN: {}, OTHER: {ONE: 7}}, {ONE}, {ONE}) == {ONE: {OTHER}}


@pytest.mark.parametrize(("accepts", "held"), [({MAIN}, {ONE: {HELPER}}), (NONE, {})])
def test_what_only_a_helper_had_when_it_was_first_seen_is_the_helpers_unless_the_main_accepts(
    accepts: frozenset[int], held: dict[int, set[int]]
) -> None:
    serving = Serving(MAIN)
    if accepts:
        serving.took_probe(accepts)

    assert serving.look({MAIN: {}, HELPER: {ONE: 7}}, {ONE}, {ONE}) == held


def test_a_main_process_that_is_alone_with_its_connections_is_seen_to_accept() -> None:
    serving = Serving(MAIN)
    serving.look({MAIN: {ONE: 7}}, {ONE}, NONE)

    assert serving.acceptor is Acceptor.MAIN


def test_nothing_is_remembered_of_connections_that_have_gone() -> None:
    serving = Serving(MAIN)
    serving.look({MAIN: {ONE: 7}, HELPER: {ONE: 7}}, {ONE}, NONE)
    serving.look({MAIN: {}, HELPER: {}}, NONE, NONE)

    assert serving.look({MAIN: {ONE: 9}, HELPER: {}}, {ONE}, NONE) == {}
    assert serving.look({MAIN: {ONE: 9}, HELPER: {}}, {ONE}, {ONE}) == {}
