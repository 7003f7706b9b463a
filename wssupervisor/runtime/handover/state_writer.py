"""Saves at each step what a successor needs if this supervisor dies."""

import os
import time
from collections.abc import Callable, Sequence

import structlog

from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.orders import Order
from wssupervisor.runtime.handover import state_file
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.handover.state_file import SavedState, StateFile
from wssupervisor.runtime.workers.process import supervisor_id

log = structlog.get_logger()


class StateWriter:
    """Saves the state of the instance `name`; `save` makes the document."""

    def __init__(self, file: StateFile, name: str, save: Callable[[], HandoverDocument]) -> None:
        self._file = file
        self._name = name
        self._save = save
        self._fails = False

    def keep(self, actions: Sequence[Action]) -> None:
        """Save the state, and the actions that are about to be done. Never raises.

        If saving fails, both files are removed, because their contents would be out of date.
        """
        try:
            self._write(actions)
        except Exception as error:  # noqa: BLE001 - the decided actions must still be done
            self._file.remove()
            if not self._fails:
                log.error(  # noqa: TRY400 - a traceback would not help the operator
                    "cannot save state: if the supervisor dies now, its successor will stop all"
                    " workers",
                    why=str(error),
                    path=self._file.path,
                )
            self._fails = True
        else:
            self._fails = False

    def mend(self, actions: Sequence[Action]) -> bool:
        """Save again if the files were deleted; True if they were and exist again."""
        if self._file.is_there():
            return False
        self.keep(actions)
        return self._file.is_there()

    def _write(self, actions: Sequence[Action]) -> None:
        """Write the state. Raises OSError, and any error of making the document."""
        orders = tuple(one for one in actions if isinstance(one, Order))
        self._file.write(
            SavedState(
                state_file.VERSION,
                self._name,
                state_file.boot_id(),
                supervisor_id(),
                time.monotonic(),
                os.geteuid(),
                orders,
                self._save(),
            )
        )
