"""The promises of a handoff, checked after every step of random ones.

Each promise stands here once; the docstring of `wssupervisor/worker/handoff/__init__.py` names
them. Giver and taker may be slow, hang or die between any two actions, messages may find no room,
and handlers may fail, be slow, or be unable to move after all.
"""

import os
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.property.handoff_world import Died, Process, World
from wssupervisor.worker.handoff import giver_events as giving
from wssupervisor.worker.handoff.connection import OWNED, READS, WRITES, Step
from wssupervisor.worker.handoff.exchange import CUT_OFF

CLIENTS = 8
TROUBLES = ("death", "slowness", "orders", "no room")


class HandoffMachine(RuleBasedStateMachine):
    @initialize(room=st.sampled_from([2, 100, 100]), troubles=st.sets(st.sampled_from(TROUBLES)))
    def begin(self, room: int, troubles: set[str]) -> None:
        """`troubles`: what may happen in this life. Without any, many connections move."""
        self.troubles = troubles
        self.world = World(CLIENTS)
        self.giver, self.taker = self.world.giver, self.world.taker
        self.taker.greet(room)

    def within(self, process: Process, act: Callable[[], None]) -> None:
        try:
            act()
        except Died:
            self.world.kill(process)

    # -- the giver --------------------------------------------------------------------------------

    @precondition(lambda self: self.giver.alive)
    @rule(data=st.data(), together=st.booleans())
    def choose(self, data: st.DataObject, *, together: bool) -> None:
        giver = self.giver.giver
        idle = [
            key
            for key in sorted(self.giver.holds)
            if self.giver.step(key) is Step.OPEN and key not in self.giver.ending
        ]
        most = min(len(idle), giver.room if together else giver.wanted())
        if not giver.wanted() or not most:
            return
        keys = data.draw(st.lists(st.sampled_from(idle), min_size=1, max_size=most, unique=True))
        event = giving.Chosen(tuple(keys), together)
        self.within(self.giver, lambda: self.giver.tell(event))

    @precondition(lambda self: self.giver.alive and self.giver.ending)
    @rule(
        data=st.data(), how=st.sampled_from(["frozen", "frozen", "frozen", "unmovable", "failed"])
    )
    def handler_ends(self, data: st.DataObject, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.giver.ending)))
        self.within(self.giver, lambda: self.giver.handler_ends(key, how))

    @precondition(lambda self: self.giver.alive)
    @rule(clock_first=st.booleans())
    def giver_looks(self, *, clock_first: bool) -> None:
        late = self.giver.giver.deadline() <= self.world.now
        if clock_first and late:
            self.within(self.giver, lambda: self.giver.tell(giving.TimePassed()))
        else:
            self.within(self.giver, self.giver.look)

    @precondition(lambda self: self.giver.alive and "orders" in self.troubles)
    @rule(event=st.sampled_from([giving.Stop("ordered"), giving.Finish()]))
    def giver_is_ordered(self, event: giving.Event) -> None:
        self.within(self.giver, lambda: self.giver.tell(event))

    @precondition(lambda self: "no room" in self.troubles)
    @rule()
    def next_message_finds_no_room(self) -> None:
        self.giver.fails_to_send = True

    # -- the taker --------------------------------------------------------------------------------

    @precondition(lambda self: self.taker.alive)
    @rule(cut_off=st.booleans())
    def taker_hears(self, *, cut_off: bool) -> None:
        problem = CUT_OFF if cut_off and "no room" in self.troubles else ""
        self.within(self.taker, lambda: self.taker.hear(problem))

    @precondition(lambda self: self.taker.alive)
    @rule()
    def taker_takes(self) -> None:
        """It takes all that was sent, without a pause."""
        self.within(self.taker, self.taker.take_all)

    @precondition(lambda self: self.taker.alive and self.taker.judging)
    @rule(data=st.data())
    def taker_judges(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(sorted(self.taker.judging)))
        positions = range(len(self.taker.keys[batch]))
        refused = data.draw(st.sets(st.sampled_from(positions)))
        self.within(
            self.taker, lambda: self.taker.judge(batch, dict.fromkeys(sorted(refused), "why"))
        )

    @precondition(lambda self: self.taker.alive and self.taker.beginning)
    @rule(data=st.data())
    def handlers_begin(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(sorted(self.taker.beginning)))
        failing = data.draw(st.sampled_from([None, None, *self.taker.keys[batch]]))
        self.within(self.taker, lambda: self.taker.begin(batch, lambda key: key == failing))

    # -- what may happen at any time --------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.01, 0.06, 1.1, 2.2]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds if "slowness" in self.troubles else min(seconds, 0.06)

    @precondition(lambda self: "death" in self.troubles)
    @rule(which=st.sampled_from(["giver", "taker"]), actions=st.integers(0, 6))
    def will_die(self, which: str, actions: int) -> None:
        process = self.giver if which == "giver" else self.taker
        process.dies_in = actions

    # -- promises ---------------------------------------------------------------------------------

    @invariant()
    def check_one_process_reads_or_writes(self) -> None:
        for key in range(CLIENTS):
            active = READS | WRITES
            here = self.giver.alive and self.giver.step(key) in active
            there = self.taker.alive and self.taker.step(key) in active

            assert not (here and there), key

    @invariant()
    def check_one_owner(self) -> None:
        """Each connection that lives has one owner, which is alive and holds its socket."""
        for key in range(CLIENTS):
            owner = self.world.owner(key)
            if owner is self.giver and key not in self.world.left_behind:
                assert self.giver.alive
                assert self.giver.step(key) in OWNED
                assert self.taker.step(key) not in OWNED
            if owner is self.taker:
                assert self.taker.alive
                assert self.taker.step(key) in OWNED or self.claiming(key)

    def claiming(self, key: int) -> bool:
        """Whether the taker died, or was about to act, right behind its read of the claim."""
        return self.taker.step(key) is Step.OFFERED

    @invariant()
    def check_frozen_is_still(self) -> None:
        """While the giver has a connection frozen that it owns, no process reads or writes."""
        for key in range(CLIENTS):
            frozen = self.giver.alive and self.giver.step(key) is Step.FROZEN
            if frozen and self.world.owner(key) is self.giver:
                assert self.taker.step(key) not in READS | WRITES

    @invariant()
    def check_a_handler_is_called_again_once(self) -> None:
        for key in range(CLIENTS):
            if key in self.world.lost or key in self.world.closed:
                continue
            missing = self.world.ended[key] - self.world.called[key]
            step = self.giver.step(key) if self.giver.alive else None
            there = self.taker.step(key)
            waits = step in (Step.ENDING, Step.FROZEN) or key in self.world.left_behind

            assert missing == (1 if waits and there not in OWNED else 0), key

    @invariant()
    def check_nothing_is_given_without_room(self) -> None:
        assert self.giver.giver.room >= 0
        assert self.giver.giver.wanted() <= self.giver.giver.room

    # -- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Good weather from now on: whatever still can move or return does."""
        if not hasattr(self, "world"):
            return
        self.giver.dies_in = self.taker.dies_in = None
        self.giver.fails_to_send = False
        if self.giver.alive:
            self.giver.tell(giving.Finish())
        for _ in range(60):
            if self.at_rest():
                break
            self.one_good_turn()
        else:
            raise AssertionError(f"it never came to rest: {vars(self.giver.giver)}")
        self.check_the_end()

    def one_good_turn(self) -> None:
        self.world.now += 0.3
        if self.giver.alive:
            for key in sorted(self.giver.ending):
                self.giver.handler_ends(key, "frozen")
            self.giver.look()
        if self.taker.alive:
            self.taker.take_all()

    def at_rest(self) -> bool:
        given = not self.giver.alive or self.giver.giver.done
        return given and (not self.taker.alive or self.taker.taker.done)

    def check_the_end(self) -> None:
        """Each connection serves in one process; only what a dead process owned is lost."""
        serving = (Step.OPEN,)
        for key in range(CLIENTS):
            here = self.giver.alive and self.giver.step(key) in serving
            there = self.taker.alive and self.taker.step(key) in serving
            ended = key in self.world.closed or key in self.world.lost

            assert here + there + ended == 1, key
            if not ended:
                assert self.world.ended[key] == self.world.called[key]
        if self.giver.alive and self.taker.alive:
            assert self.world.lost == set()
        if self.giver.alive:
            assert self.giver.giver.moved == CLIENTS - len(self.giver.holds)


HandoffMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("WSSUPERVISOR_EXAMPLES", "200")),
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHandoff = HandoffMachine.TestCase
