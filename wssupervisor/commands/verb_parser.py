"""The modules of verbs, loaded when they are needed: `wssctl status` loads only that of status."""

import argparse
from importlib import import_module
from typing import Any

from wssupervisor.control.verbs import VERBS

OWN_VERBS = {name: row for name, row in VERBS.items() if row.help}
"""Without the methods of the control socket that have no verb."""


def module(verb: str) -> Any:
    """`commands/VERB.py`, with its `add_arguments`, its `run` and its EXAMPLES."""
    return import_module(f"wssupervisor.commands.{verb}")


class VerbParser(argparse.ArgumentParser):
    """Loads its verb's module when it is used: one that is not given costs nothing."""

    is_complete = False

    def complete(self) -> None:
        """Add the arguments of the verb."""
        if not self.is_complete:
            self.is_complete = True
            found = module(self.prog.rpartition(" ")[2])
            self.epilog = found.EXAMPLES
            found.add_arguments(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.complete()
        return super().parse_known_args(args, namespace)
