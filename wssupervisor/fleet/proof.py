"""What proves that a worker is ready: only what `[ready] by` names.

A release must not be its own judge. gunicorn and others send READY=1 before they have imported the
application (docs/internals/platform.md#servers-as-released). If the operator chose a probe, READY=1
is no evidence.
"""

from wssupervisor.fleet.events import ProbePassed, WorkerReady
from wssupervisor.fleet.model import Policy, ReadyBy

BY_PROBE = frozenset({ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET})
"""The methods for which the supervisor connects to the worker."""


def proves(event: WorkerReady | ProbePassed, policy: Policy) -> bool:
    """Whether the event makes a worker ready that was started with this policy."""
    match event:
        case WorkerReady():
            return policy.ready_by is ReadyBy.NOTIFY
        case ProbePassed():
            return policy.ready_by in BY_PROBE
