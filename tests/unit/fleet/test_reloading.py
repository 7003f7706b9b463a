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
    draining,
    failures,
    serving,
    shared,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet import reloading
from wssupervisor.fleet.actions import (
    Accepted,
    Answer,
    Begun,
    CutOver,
    Failed,
    PendingCutover,
    Quit,
    Resolve,
    Spawn,
    Steer,
)
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    DrainLimited,
    Event,
    Observed,
    ProbeFailed,
    ProbeTried,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    Requester,
    RequesterGone,
    RollBackRequested,
    ScaleRequested,
    SpawnFailed,
    StartRequested,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    InstanceState,
    Listener,
    Policy,
    ReadyBy,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Kill, Signal
from wssupervisor.fleet.state import ReloadKind, ReloadPhase, Verdict


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
    assert fleet.cutovers[-1] == PendingCutover(
        1, {worker(2, 0): {"ws": 12}, worker(2, 1): {"ws": 13}}
    )
    assert fleet.steer(actions, 12) == [Answer(7, CutOver(1, 2, 1, 2))]
    assert fleet.state.generations[1].state is GenerationState.DRAINING


def test_by_client_is_refused_on_a_listener_that_is_shared() -> None:
    fleet = Fleet([Listener("ws", (10,), shared=10)])
    policy = replace(POLICY, by_client=("ws",))
    fleet.handle(Observed({10: 0}, 0), 0)
    fleet.handle(StartRequested(A, policy), 1)

    assert fleet.state.stop is not None
    assert "needs steering, but listener 'ws' is in shared mode" in str(fleet.state.stop.reason)


def test_a_reload_reads_the_release_first() -> None:
    assert serving().handle(ReloadRequested(7), 10) == [Resolve(1)]


@pytest.mark.parametrize(
    ("request_id", "waits", "named"), [(7, True, [Begun(7, 1)]), (7, False, []), (None, True, [])]
)
def test_a_request_that_waits_is_given_the_name_of_its_reload(
    request_id: int | None, waits: bool, named: list[Begun]
) -> None:
    actions = serving().core.handle(ReloadRequested(request_id, waits=waits), 10)

    assert [one for one in actions if isinstance(one, Begun)] == named


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
    assert "was not ready within 30s: it did not send READY=1" in str(answers[0])


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

    assert f'[ready] by = "{by.value}" cannot distinguish generations' in str(answer)


def test_connect_readiness_is_refused_in_shared_mode() -> None:
    fleet = shared()
    fleet.handle(ReloadRequested(1), 10)
    policy = replace(POLICY, ready_by=ReadyBy.CONNECT)
    (answer,) = fleet.handle(ReleaseResolved(1, B, policy), 10)

    assert "cannot distinguish generations" in str(answer)


def test_the_limits_are_those_that_the_manual_names() -> None:
    assert reloading.NAMED_SECONDS == 0.001
    assert reloading.LINEAGE_MAX == 10


@pytest.mark.parametrize("state", ["early", "starting", "reloading", "rolling back", "stopping"])
def test_why_nothing_can_begin_is_said(state: str) -> None:
    fleet = {"early": Driven, "starting": starting}.get(state, draining)()
    match state:
        case "reloading":
            fleet.begin_reload(13)
        case "rolling back":
            fleet.handle(RollBackRequested(7), 13)
        case "stopping":
            fleet.handle(StopRequested(None), 13)
    why = reloading.why_busy(fleet.state)

    assert why is not None
    assert {
        "early": "has not started yet",
        "starting": "still starting",
        "reloading": "a reload is under way",
        "rolling back": "under way",
        "stopping": "is stopping",
    }[state] in why
    assert reloading.why_busy(serving().state) is None


def test_a_reload_is_reported_with_its_requester() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7, by=Requester("wssctl", "alice", 4711)), 10)

    assert fleet.fields(NoteKind.RELOAD_BEGUN) == [
        {"reload": "r1", "via": "wssctl", "by": "alice", "by_pid": 4711}
    ]


def test_a_reload_that_does_not_wait_is_answered_when_it_begins_and_not_again() -> None:
    fleet = serving()

    assert fleet.handle(ReloadRequested(7, waits=False), 10) == [Answer(7, Accepted(1)), Resolve(1)]
    assert failures(fleet.handle(ReleaseRefused(1, "no such file"), 11)) == []


def test_a_reload_without_a_requester_is_answered_to_none() -> None:
    fleet = serving()

    assert fleet.handle(ReloadRequested(None, waits=False), 10) == [Resolve(1)]
    assert fleet.handle(ReloadRequested(None), 10) == []
    assert fleet.fields(NoteKind.RELOAD_REFUSED) == [
        {"attempt": "reload", "reason": "a reload is under way. Try again when it is done"}
    ]


def test_a_failed_reload_is_reported_and_its_verdict_kept() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.handle(WorkerExited(worker(2, 1), Exit(status=3)), 12.5)
    reason = "worker 1 of generation 2 exited with status 3 before it was ready"

    assert fleet.fields(NoteKind.RELOAD_FAILED) == [
        {
            "reload": "r1",
            "attempt": "reload",
            "generation": 2,
            "seconds": 2.5,
            "release": "/srv/42",
            "reason": reason,
        }
    ]
    assert fleet.state.verdict == Verdict(
        1, ReloadKind.RELOAD, False, 2, None, reason, worker(2, 1), 10, 2.5
    )
    assert fleet.state.reload is None


def test_a_reload_that_fails_before_its_release_is_known_reports_none() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7), 10)
    fleet.handle(ReleaseRefused(1, "no such file"), 11)
    (failed,) = fleet.fields(NoteKind.RELOAD_FAILED)

    assert (failed["generation"], failed["release"]) == (None, None)


def test_a_reload_that_fails_while_it_waits_for_a_slot_reports_its_release() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 1})
    fleet.handle(DrainLimited(9, 1, 0.0), 13)
    fleet.handle(ReloadRequested(7, timeout=5.0), 14)
    fleet.handle(ReleaseResolved(2, B, fleet.policy), 14)
    (reason,) = failures(fleet.handle(TimePassed(), 19))

    assert reason == "not done within 5s: a free slot, which workers that are ending still hold"
    assert fleet.fields(NoteKind.RELOAD_FAILED)[0]["release"] == "/srv/42"


def test_a_successful_reload_is_reported_and_its_verdict_kept() -> None:
    fleet = serving()
    fleet.deploy(2, 10)

    assert fleet.fields(NoteKind.CUTOVER) == [
        {
            "reload": "r1",
            "attempt": "reload",
            "generation": 2,
            "replaced": 1,
            "seconds": 1,
            "release": "/srv/42",
        }
    ]
    assert fleet.state.verdict == Verdict(1, ReloadKind.RELOAD, True, 2, 1, None, None, 10, 1)
    assert fleet.state.generations[2].active_since == 11


def test_the_start_is_reported_and_is_no_verdict() -> None:
    fleet = serving()

    assert fleet.fields(NoteKind.STARTED) == [
        {"generation": 1, "replaced": None, "seconds": 1, "release": "/srv/41"}
    ]
    assert fleet.fields(NoteKind.CUTOVER) == []
    assert fleet.state.verdict is None
    assert fleet.state.lineage == []


def test_a_start_that_fails_ends_the_instance_within_its_limit() -> None:
    fleet = starting(replace(POLICY, stop_timeout=12.0))
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 2)

    assert fleet.state.stop is not None
    assert (fleet.state.stop.deadline, fleet.state.stop.status) == (14, 1)
    assert fleet.fields(NoteKind.RELOAD_FAILED) == []


def test_a_start_has_no_limit_but_its_workers() -> None:
    fleet = starting()

    assert fleet.next_deadline() == 31
    fleet.make_ready(1, 2)
    assert fleet.handle(TimePassed(), 2.9) == []
    assert fleet.next_deadline() == 3


def test_a_reload_fails_at_the_limit_of_its_requester_with_what_it_waits_for() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7, timeout=5.0), 10)

    assert fleet.next_deadline() == 15
    assert fleet.handle(TimePassed(), 14.9) == []
    assert failures(fleet.handle(TimePassed(), 15)) == [
        "not done within 5s: reading the configuration"
    ]


def late(timeout: float = 5.0, policy: Policy = POLICY) -> Driven:
    """A reload since second 10 that must be done by second 15."""
    fleet = serving(policy)
    fleet.handle(ReloadRequested(7, timeout=timeout), 10)
    fleet.spawn_all(fleet.handle(ReleaseResolved(1, B, policy), 10), 10)
    return fleet


def test_at_the_limit_the_workers_that_are_late_are_named() -> None:
    both, one = late(), late()
    one.handle(WorkerReady(worker(2, 0)), 11)
    (answer,) = [each for each in both.handle(TimePassed(), 15) if isinstance(each, Answer)]

    assert answer == Answer(
        7,
        Failed(
            "reload-failed",
            "not done within 5s: workers 0, 1 of generation 2 not ready yet",
            1,
            worker(2, 0),
        ),
    )
    assert failures(one.handle(TimePassed(), 15)) == [
        "not done within 5s: worker 1 of generation 2 not ready yet"
    ]
    assert one.state.verdict is not None
    assert one.state.verdict.of == worker(2, 1)


def test_at_the_limit_the_last_failed_probe_is_named() -> None:
    fleet = late(policy=replace(POLICY, ready_by=ReadyBy.CONNECT))
    fleet.handle(ProbeTried(worker(2, 1), "answered 503"), 12)

    assert failures(fleet.handle(TimePassed(), 15)) == [
        "not done within 5s: workers 0, 1 of generation 2 not ready yet: it answered 503"
    ]


def test_what_a_reload_waits_for_is_shown_in_each_phase() -> None:
    fleet = late(timeout=60.0)
    fleet.state.generations[2].policy = replace(POLICY, stable=3.0)

    assert reloading.waits_for(fleet.state, 11) == "workers 0, 1 of generation 2 not ready yet"
    fleet.make_ready(2, 11)
    assert reloading.waits_for(fleet.state, 12.5) == (
        "generation 2 is ready, and must stay ready for another 1.5 s"
    )
    assert fleet.next_deadline() == 14
    assert reloading.waits_for(fleet.state, 14) == "cutover"
    fleet.handle(TimePassed(), 14)
    assert fleet.state.reload is not None
    assert fleet.state.reload.phase is ReloadPhase.CUTTING
    assert reloading.waits_for(fleet.state, 14) == "cutover"


def test_a_cutover_under_way_has_no_limit() -> None:
    fleet = late()
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)

    assert fleet.next_deadline() is None
    assert fleet.handle(TimePassed(), 1000) == []


def test_a_cutover_waits_for_a_table_that_is_on_its_way() -> None:
    fleet = late(timeout=60.0)
    fleet.handle(ScaleRequested(3, 1), 10)
    away = fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.make_ready(2, 11)

    assert fleet.handle(TimePassed(), 12) == []
    assert fleet.next_deadline() == 40, "not in a circle"
    assert any(isinstance(one, Steer) for one in fleet.steer(away, 13))


def test_a_cutover_waits_for_a_table_that_is_to_be_tried_again() -> None:
    fleet = late(timeout=60.0)
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.make_ready(2, 11)
    fleet.handle(SteerFailed(3, "refused"), 11.5)

    assert fleet.next_deadline() == 12.5
    assert fleet.handle(TimePassed(), 12.4) == []
    assert fleet.handle(TimePassed(), 12.5) == [Steer(4, steered(12, 13))]


def test_a_worker_that_stops_serving_before_the_cutover_is_waited_for_again() -> None:
    fleet = late(policy=replace(POLICY, watchdog=2.0))
    fleet.make_ready(2, 11)
    fleet.handle(WorkerAlive(worker(2, 0)), 9)
    fleet.handle(TimePassed(), 11.5)

    assert reloading.waits_for(fleet.state, 11.5) == "worker 0 of generation 2 not ready yet"
    assert fleet.handle(TimePassed(), 12) == []
    assert fleet.handle(WorkerAlive(worker(2, 0)), 12.5) == [Steer(3, steered(12, 13))]


def test_a_candidate_is_judged_until_its_table_is_asked_for() -> None:
    fleet = late()

    assert reloading.judging(fleet.state, worker(2, 0))
    assert not reloading.judging(fleet.state, worker(1, 0))
    assert not reloading.judging(fleet.state, worker(2, 0, 2)), "no seat has it"
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    assert not reloading.judging(fleet.state, worker(2, 0))
    assert not reloading.judging(serving().state, worker(1, 0))


def test_a_scale_ends_with_a_release_that_wants_another_number() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.handle(ScaleRequested(3, 3), 4), 4)
    fleet.handle(WorkerReady(worker(1, 2)), 5)
    fleet.steer([Steer(3, steered())], 5)
    fleet.policy = replace(POLICY, workers=1)
    fleet.deploy(2, 10)

    assert fleet.state.scaled is None
    assert fleet.state.policy.workers == 1


def test_a_scale_stays_with_a_release_that_wants_the_same_number() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.handle(ScaleRequested(3, 1), 4), 4)
    fleet.steer([Steer(3, steered())], 5)
    fleet.deploy(2, 10)

    assert fleet.state.scaled is not None
    assert len(fleet.state.generations[2].seats) == 1


def test_ten_generations_can_be_rolled_back_to() -> None:
    fleet = serving(replace(POLICY, workers=1))
    for generation in range(2, 14):
        fleet.deploy(generation, 10.0 * generation)
        fleet.handle(WorkerExited(worker(generation - 1), Exit(0)), 10.0 * generation + 2)
        fleet.look(10.0 * generation + 3)

    assert [one.number for one in fleet.state.lineage] == list(range(3, 13))


def test_a_rollback_takes_its_target_off_the_line() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 19)
    fleet.steer(fleet.handle(TimePassed(), 20), 20)

    assert fleet.state.lineage == []


def test_the_requester_knows_its_reload_before_the_cutover() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 20)

    assert fleet.next_deadline() == 20.001
    assert fleet.handle(TimePassed(), 20.0009) == []
    assert len(fleet.handle(TimePassed(), 20.001)) == 1


def test_a_start_needs_no_slot_that_has_been_seen_empty_and_a_reload_does() -> None:
    fleet = Driven()
    fleet.handle(StartRequested(A, POLICY), 1)

    assert len(fleet.state.generations[1].workers) == 2


def test_a_candidate_that_fails_keeps_its_number_which_is_never_given_again() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.handle(WorkerExited(worker(2, 0), Exit(1)), 11)
    fleet.handle(WorkerExited(worker(2, 1), Exit(1)), 11)
    fleet.look(11)
    fleet.begin_reload(12)

    assert list(fleet.state.generations) == [1, 3]
    assert fleet.state.reload is not None
    assert fleet.state.reload.id == 2


def test_the_start_has_the_number_before_the_first_reload() -> None:
    reload = starting().state.reload

    assert reload is not None
    assert (reload.id, reloading.name(reload.id)) == (0, "r0")


def test_a_reload_that_is_too_late_does_not_start_though_a_slot_gets_free_just_then() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 1})
    fleet.handle(DrainLimited(9, 1, 0.0), 13)
    fleet.handle(ReloadRequested(7, timeout=5.0), 14)
    fleet.handle(ReleaseResolved(2, B, fleet.policy), 14)
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(0)), 18)
    actions = fleet.look(19)

    assert len(failures(actions)) == 1
    assert not any(isinstance(one, Spawn) for one in actions)
    assert list(fleet.state.generations) == [2]
