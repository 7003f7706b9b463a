"""How many descriptors the supervisor may have open, beside how many it needs."""

import resource

import structlog

from wssupervisor.config import Config
from wssupervisor.errors import ListenFailed

log = structlog.get_logger()


def check_limit(config: Config) -> None:
    """Warn of a limit that a reload or a drain will meet. Raises ListenFailed if a start would."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    how = "set LimitNOFILE= in the unit, or ulimit -n"
    if allowed < (least := config.descriptors_at_start()):
        raise ListenFailed(
            f"at most {allowed} open files are allowed, and the supervisor needs {least} to start"
            f" and {config.descriptors_wanted()} with all drains; {how}"
        )
    if allowed < (wanted := config.descriptors_wanted()):
        log.warning("too few open files are allowed", allowed=allowed, needed=wanted, advice=how)
