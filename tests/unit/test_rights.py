"""The table of rights: each method has its row, and the rows say what the manual says."""

import ast
import inspect
import textwrap

from wssupervisor.control.rights import RIGHTS, Right, member_may
from wssupervisor.runtime.api.methods import Requests


def handled() -> set[str]:
    """The methods that the daemon answers, out of the source of its `match`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Requests.handle)))
    patterns = [one.pattern for one in ast.walk(tree) if isinstance(one, ast.match_case)]
    values = [one.value for one in patterns if isinstance(one, ast.MatchValue)]
    return {str(one.value) for one in values if isinstance(one, ast.Constant)}


def test_each_method_that_is_answered_has_a_right() -> None:
    assert handled() == set(RIGHTS)


def test_members_never_stop_or_upgrade() -> None:
    own = {method for method, right in RIGHTS.items() if right is Right.OWN}

    assert own == {"stop", "upgrade"}
    assert not member_may(Right.OWN, group_may_operate=True)


def test_members_operate_only_if_the_configuration_allows_it() -> None:
    assert member_may(Right.OPERATE, group_may_operate=True)
    assert not member_may(Right.OPERATE, group_may_operate=False)
    assert member_may(Right.READ, group_may_operate=False)
