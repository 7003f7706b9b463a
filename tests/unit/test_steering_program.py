"""The steering program does what its table says: run here by a small interpreter, on made packets.

That the kernel takes it and agrees is shown with real connections in integration/test_steering.py.
"""

import struct

import pytest

from tests.harness.packets import packet, run
from wssupervisor.runtime.kernel.bpf import RETURN, packed
from wssupervisor.runtime.listeners.steering_program import ProbeRule, steering_program


def test_one_slot_gets_everything_without_a_random_number() -> None:
    assert [(RETURN, 0, 0, 7)] == steering_program({7: 5})


def test_shares_are_exactly_the_weights() -> None:
    program = steering_program({3: 1, 0: 2, 9: 1})

    assert [0, 0, 3, 9] == [run(program, b"", random=number) for number in range(4)]


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.255", "::1", "2001:db8::1:2"])
def test_a_probe_reaches_its_slot_and_nobody_else_does(host: str) -> None:
    program = steering_program({0: 1}, [ProbeRule(host, 40000, 5)])

    assert 5 == run(program, packet(host, 40000))
    assert 0 == run(program, packet(host, 40001))
    assert 0 == run(program, packet("127.0.0.2", 40000))
    assert 0 == run(program, packet("::2", 40000))


def test_a_probe_from_a_mapped_address_is_ipv4_on_the_wire() -> None:
    program = steering_program({0: 1}, [ProbeRule("::ffff:127.0.0.1", 40000, 5)])

    assert 5 == run(program, packet("127.0.0.1", 40000))


def test_several_probes_reach_a_slot_each() -> None:
    rules = [ProbeRule("127.0.0.1", 1, 4), ProbeRule("::1", 1, 5), ProbeRule("127.0.0.1", 2, 6)]
    program = steering_program({0: 1}, rules)

    assert [4, 5, 6] == [run(program, packet(rule.host, rule.port)) for rule in rules]


@pytest.mark.parametrize("weights", [{}, {1: 0}, {1: 1, 2: -1}])
def test_a_table_without_a_share_is_refused(weights: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        steering_program(weights)


def test_a_program_longer_than_the_kernel_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        steering_program(dict.fromkeys(range(3000), 1))


def test_an_instruction_is_eight_bytes() -> None:
    assert struct.pack("=HBBI", RETURN, 0, 0, 7) == packed(steering_program({7: 1}))
