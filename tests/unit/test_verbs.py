"""The table of verbs: each row has its modules, and its right is the one in the manual."""

import inspect
from typing import get_args, get_origin, get_type_hints

import pytest

from wssupervisor.commands.verb_parser import OWN_VERBS, module
from wssupervisor.control.rights import Right, member_may
from wssupervisor.control.verbs import VERBS, Empty
from wssupervisor.runtime.api.call import Call
from wssupervisor.runtime.api.dispatch import METHODS, method


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_answers_with_the_types_of_its_row(name: str) -> None:
    row, answer = VERBS[name], method(name)
    hints = get_type_hints(answer)

    assert get_origin(hints["call"]) is Call
    assert get_args(hints["call"]) == (row.request, row.event)
    assert hints["return"] is row.answer
    assert inspect.iscoroutinefunction(answer)


@pytest.mark.parametrize("name", sorted(OWN_VERBS))
def test_each_verb_has_a_module_that_renders_it(name: str) -> None:
    row, found = VERBS[name], module(name)

    assert "examples:\n" in found.EXAMPLES
    assert callable(found.add_arguments)
    assert callable(found.run)
    assert hasattr(found, "run_without_daemon") == row.recorded


def test_a_row_without_a_method_has_no_types() -> None:
    local = [row for row in VERBS.values() if row.right is None]

    assert {row.name for row in local} == {"check", "init", "completion"}
    assert all(row.request is row.answer is row.event is Empty for row in local)


def test_members_never_stop_or_upgrade() -> None:
    own = {name for name, row in VERBS.items() if row.right is Right.OWN}

    assert own == {"stop", "upgrade"}
    assert not member_may(Right.OWN, group_may_operate=True)


def test_members_operate_only_if_the_configuration_allows_it() -> None:
    assert member_may(Right.OPERATE, group_may_operate=True)
    assert not member_may(Right.OPERATE, group_may_operate=False)
    assert member_may(Right.READ, group_may_operate=False)
