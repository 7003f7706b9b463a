"""Every error the program raises on purpose.

    WssError                    code               exit status
    ├── UsageError              usage              2
    ├── ConfigInvalid           config-invalid     78
    ├── ReleaseInvalid          release-invalid    1   command, directory or environment is wrong
    ├── ListenFailed            listen-failed      1
    │   ├── AddressTaken        address-taken      1   another process listens there
    │   ├── Unreachable         unreachable        1   this machine cannot connect to it
    │   └── SocketsMissing      sockets-missing    78  systemd passed none for a listener
    ├── SteeringRefused         steering-refused   1   the kernel or a sandbox refused the program
    ├── InstanceRunning         instance-running   1   a daemon of this name is running
    ├── NotRunning              not-running        69
    ├── Busy                    busy               75  a reload or stop is under way
    ├── NotAllowed              not-allowed        77
    ├── OperationFailed         operation-failed   1   tried, and failed
    │   └── ReloadFailed        reload-failed      1
    ├── BadRequest              bad-request        1   a request the daemon does not understand
    │   └── UnknownMethod       unknown-method     1
    └── ProtocolError           protocol-error     1   a peer broke the control protocol

A worker's failure is an event, never an exception. `str()` of each is a text for the operator: what
happened, to what, and what to do. For `ConfigInvalid` it is one line per problem.
"""

from collections.abc import Sequence

from wssupervisor.bounded import TEXT_CHARS, bounded, bounded_all

PROBLEMS_CHARS = TEXT_CHARS - 500
"""Limit of all mistakes of a configuration together: leaves room for the start of a reason."""


class WssError(Exception):
    """The base: a stable kebab-case `code`, the process's `exit_status`, and output `lines`.

    `data` goes beside the message in the control protocol.
    """

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, lines: Sequence[str] = ()) -> None:
        super().__init__(bounded(message))
        self.lines = tuple(lines)
        self.data: dict[str, str] = {}


class UsageError(WssError):
    code = "usage"
    exit_status = 2


class ConfigInvalid(WssError):
    """`problems` has one sentence for each mistake, and all mistakes of a file.

    The text and `shown` have as many as fit into an answer.
    """

    code = "config-invalid"
    exit_status = 78

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        self.shown = bounded_all(self.problems, "; `wssctl check FILE` shows all", PROBLEMS_CHARS)
        super().__init__("\n".join(self.shown))


class ReleaseInvalid(WssError):
    code = "release-invalid"


class ListenFailed(WssError):
    code = "listen-failed"


class AddressTaken(ListenFailed):
    """`inodes`: the listening sockets that occupy the address."""

    code = "address-taken"
    inodes: frozenset[int] = frozenset()


class Unreachable(ListenFailed):
    code = "unreachable"


class SocketsMissing(ListenFailed):
    """A restart would not help, so the exit status is that of a bad configuration."""

    code = "sockets-missing"
    exit_status = 78


class SteeringRefused(WssError):
    code = "steering-refused"


class InstanceRunning(WssError):
    code = "instance-running"


class NotRunning(WssError):
    code = "not-running"
    exit_status = 69


class Busy(WssError):
    code = "busy"
    exit_status = 75


class NotAllowed(WssError):
    code = "not-allowed"
    exit_status = 77


class OperationFailed(WssError):
    code = "operation-failed"


class ReloadFailed(OperationFailed):
    code = "reload-failed"


class BadRequest(WssError):
    code = "bad-request"


class UnknownMethod(BadRequest):
    code = "unknown-method"


class ProtocolError(WssError):
    code = "protocol-error"


def _all(kind: type[WssError]) -> list[type[WssError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _all(child))]


EXIT_STATUS_BY_CODE = {kind.code: kind.exit_status for kind in _all(WssError)}
