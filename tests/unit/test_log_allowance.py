"""How much of the workers' output the journal may get."""

from wssupervisor.log_allowance import LINES, SECONDS, Allowance


def test_a_burst_is_allowed_and_then_as_much_again_in_its_time() -> None:
    allowance = Allowance(10)
    allowance.spend(LINES)

    assert allowance.left(10) == 0
    assert allowance.left(10 + SECONDS / 2) == LINES // 2
    assert allowance.left(10 + SECONDS * 5) == LINES


def test_what_was_overdrawn_is_waited_for() -> None:
    allowance = Allowance(10)
    allowance.spend(LINES * 2)

    assert allowance.left(10 + SECONDS / 2) < 0
    assert allowance.left(10 + SECONDS * 1.5) == LINES // 2
