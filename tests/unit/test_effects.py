"""What becomes of actions that fail."""

from wssupervisor.fleet.actions import Action, Quit
from wssupervisor.fleet.events import Event
from wssupervisor.fleet.model import WorkerId
from wssupervisor.fleet.orders import Kill
from wssupervisor.runtime.effects import Effects

WORKER = WorkerId(1, 0, 1)


class Performer:
    """Fails at each action of the given types."""

    def __init__(self, *fails: type[Action]) -> None:
        self._fails = fails
        self.tried: list[Action] = []
        self.events: list[Event] = []
        self.effects = Effects(self._perform, self.events.append)

    def _perform(self, action: Action) -> None:
        self.tried.append(action)
        if isinstance(action, self._fails):
            raise OSError(5, "Input/output error")


def test_an_end_that_fails_is_tried_once_more_without_last_words_and_never_raises() -> None:
    performer = Performer(Quit)

    performer.effects.perform([Quit(1, "it failed", of=WORKER), Kill(WORKER)])

    assert performer.tried == [
        Quit(1, "it failed", of=WORKER),
        Quit(1, "it failed"),
        Kill(WORKER),
    ]


def test_an_order_that_fails_is_tried_again_while_its_worker_lives() -> None:
    performer = Performer(Kill)
    performer.effects.perform([Kill(WORKER)])
    assert list(performer.effects.pending) == [Kill(WORKER)]

    performer.effects.retry({WORKER})
    assert list(performer.effects.pending) == [Kill(WORKER)]

    performer.effects.retry(set())
    assert list(performer.effects.pending) == []
    assert performer.events == []
