"""What a process writes, heard without a daemon and without a relay."""

from wssupervisor.runtime.workers.output import Output


class Written:
    """`descriptor` is what the process gets."""

    def __init__(self) -> None:
        self.output, self._ends = Output.create("test")
        self.descriptor = self._ends.output

    def poll(self) -> list[str]:
        """Lines that came since the last look."""
        self.output.move()
        return self.output.read().lines

    def close(self) -> None:
        self._ends.close()
        self.output.close()
