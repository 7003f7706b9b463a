"""A reload from its request to its one verdict; the start is the first of them."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SIGNALLED,
    SLOTS,
    A,
    B,
    Driven,
    serving,
    shared,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Answer, CutOver, Failed, Quit, Resolve, Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    Event,
    Observed,
    ProbeFailed,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    RequesterGone,
    SpawnFailed,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    InstanceState,
    Listener,
    ReadyBy,
)
from wssupervisor.fleet.orders import Kill, Signal


def test_a_start_parks_first_and_spawns_on_slots_of_their_own() -> None:
    fleet = Driven()

    assert fleet.look(0) == [Steer(1, steered(PARKING))]
    assert fleet.handle(StartRequested(A, POLICY), 1) == [
        Spawn(worker(1, 0), A, {"ws": 10}),
        Spawn(worker(1, 1), A, {"ws": 11}),
    ]


def test_cutover_waits_until_all_are_ready_and_stable() -> None:
    fleet = starting()
    fleet.handle(WorkerReady(worker(1, 0)), 2)

    assert fleet.handle(TimePassed(), 5) == []

    fleet.handle(WorkerReady(worker(1, 1)), 5)

    assert fleet.handle(TimePassed(), 5.9) == []
    assert fleet.handle(TimePassed(), 6) == [Steer(2, steered(10, 11))]


def test_a_reload_cuts_over_answers_and_lets_the_old_generation_drain() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    actions = fleet.handle(TimePassed(), 12)

    assert actions == [Steer(3, steered(12, 13))]
    assert fleet.steer(actions, 12) == [Answer(7, CutOver(1, 2, 1, 2))]
    assert fleet.state.generations[1].state is GenerationState.DRAINING


def test_by_client_is_refused_on_a_listener_that_is_shared() -> None:
    fleet = Fleet([Listener("ws", (10,), shared=10)])
    policy = replace(POLICY, by_client=("ws",))
    fleet.handle(Observed({10: 0}, 0), 0)
    fleet.handle(StartRequested(A, policy), 1)

    assert fleet.state.stop is not None
    assert "needs steering, and listener 'ws' is in shared mode" in str(fleet.state.stop.reason)


def test_a_reload_reads_the_release_first() -> None:
    assert serving().handle(ReloadRequested(7), 10) == [Resolve(1)]


@pytest.mark.parametrize("state", ["starting", "reloading", "stopping"])
def test_a_reload_at_a_bad_moment_is_not_tried(state: str) -> None:
    fleet = starting() if state == "starting" else serving()
    if state == "reloading":
        fleet.begin_reload(10)
    if state == "stopping":
        fleet.handle(StopRequested(None), 10)
    (answer,) = fleet.handle(ReloadRequested(7), 11)

    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "busy"


FAILURES: list[tuple[Event, str]] = [
    (WorkerExited(worker(2), Exit(status=1)), "exited with status 1 before it was ready"),
    (WorkerExited(worker(2), Exit(status=0)), "exited with status 0 before it was ready"),
    (WorkerExited(worker(2), Exit(signal="SIGSEGV")), "was killed by SIGSEGV before it was ready"),
    (SpawnFailed(worker(2), "no memory"), "could not be started: no memory before it was ready"),
    (ProbeFailed(worker(2), "could not be probed"), "could not be probed"),
]


@pytest.mark.parametrize(("event", "reason"), FAILURES)
def test_a_candidate_that_fails_is_thrown_away_and_nothing_else_is_touched(
    event: Event, reason: str
) -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    actions = fleet.handle(event, 11)
    touched = {one.worker.generation for one in actions if isinstance(one, Signal | Kill)}

    assert touched == {2}
    assert not any(isinstance(one, Steer) for one in actions)
    assert (
        Answer(7, Failed("reload-failed", f"worker 0 of generation 2 {reason}", 1, worker(2)))
        in actions
    )
    assert fleet.shown_state(11) is InstanceState.SERVING


def test_a_candidate_that_dies_within_stable_fails() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    actions = fleet.handle(WorkerExited(worker(2, 1), Exit(status=3)), 11.5)
    reason = (
        "worker 1 of generation 2 exited with status 3 0.5 s after it was ready, within `stable`"
    )

    assert Answer(7, Failed("reload-failed", reason, 1, worker(2, 1))) in actions


def test_a_candidate_that_is_never_ready_fails_at_its_limit() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)

    assert fleet.next_deadline() == 40

    answers = [one for one in fleet.handle(TimePassed(), 40) if isinstance(one, Answer)]

    assert len(answers) == 1
    assert "was not ready within 30s: it did not say READY=1" in str(answers[0])


def test_a_release_that_cannot_be_used_fails_with_its_reason() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7), 10)

    assert fleet.handle(ReleaseRefused(1, "no such file"), 11) == [
        Answer(7, Failed("reload-failed", "no such file", 1))
    ]


def test_a_cancelled_reload_never_takes_effect() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    actions = fleet.handle(RequesterGone(7), 11)

    assert actions == [Signal(worker(2, 0), "SIGTERM"), Signal(worker(2, 1), "SIGTERM")]
    assert fleet.make_ready(2, 12) == []
    assert fleet.handle(TimePassed(), 16) == [
        Signal(worker(2, 0), "SIGTERM", rest=True),
        Signal(worker(2, 1), "SIGTERM", rest=True),
    ]
    assert fleet.handle(TimePassed(), 20) == []
    assert fleet.handle(TimePassed(), 21) == [Kill(worker(2, 0)), Kill(worker(2, 1))]
    assert fleet.state.active is not None
    assert fleet.state.active.number == 1


def test_a_release_that_is_resolved_after_the_cancel_is_not_started() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7), 10)
    fleet.handle(RequesterGone(7), 11)

    assert fleet.handle(ReleaseResolved(1, B, POLICY), 12) == []


def test_too_few_free_slots_are_shared_and_none_is_a_refusal() -> None:
    few = serving(slots=SLOTS[:4])
    few.handle(ReloadRequested(7), 10)
    none = serving(slots=SLOTS[:3])
    none.handle(ReloadRequested(7), 10)
    (answer,) = none.handle(ReleaseResolved(1, B, POLICY), 10)

    assert few.handle(ReleaseResolved(1, B, POLICY), 10) == [
        Spawn(worker(2, 0), B, {"ws": 12}),
        Spawn(worker(2, 1), B, {"ws": 12}),
    ]
    assert "no slot of listener 'ws' is free" in str(answer)


def test_a_first_start_that_fails_quits_with_the_reason() -> None:
    fleet = starting()
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 2)
    actions = fleet.handle(WorkerExited(worker(1, 1), Exit(signal="SIGTERM")), 3)
    reason = "worker 0 of generation 1 exited with status 1 before it was ready"

    assert actions == [Quit(1, reason, worker(1, 0))]


@pytest.mark.parametrize("by", [ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET])
def test_a_probe_that_cannot_tell_generations_apart_is_refused(by: ReadyBy) -> None:
    fleet = shared(SIGNALLED)
    fleet.handle(ReloadRequested(1), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, replace(SIGNALLED, ready_by=by)), 10)

    assert f'[ready] by = "{by.value}" cannot tell generations apart' in str(answer)


def test_connect_readiness_is_refused_in_shared_mode() -> None:
    fleet = shared()
    fleet.handle(ReloadRequested(1), 10)
    policy = replace(POLICY, ready_by=ReadyBy.CONNECT)
    (answer,) = fleet.handle(ReleaseResolved(1, B, policy), 10)

    assert "cannot tell generations apart" in str(answer)
