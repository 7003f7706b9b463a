"""What was under way when the supervisor re-executed itself, and is to be begun again."""

from collections.abc import Iterator

from wssupervisor.fleet import worker
from wssupervisor.fleet.actions import Action, Note, NoteKind, Resolve
from wssupervisor.fleet.state import ReloadPhase, State


def resume(state: State, before: str, version: str) -> Iterator[Action]:
    """The first actions of the new program; `before` and `version` are the programs' versions."""
    yield Note(NoteKind.REEXECUTED, {"version": version, "before": before})
    if state.reload is not None and state.reload.phase is ReloadPhase.RESOLVING:
        yield Resolve(state.reload.id)
    for generation in state.generations.values():
        for one in generation.workers.values():
            yield from worker.judge(one, generation.policy)


def why_not(state: State) -> str | None:
    """Why the supervisor cannot be re-executed now."""
    if state.stop is not None:
        return "the instance is stopping"
    if state.active is None:
        return "the instance has not started yet"
    return None
