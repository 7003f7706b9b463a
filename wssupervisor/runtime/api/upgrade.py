"""upgrade: the supervisor executes the version on disk."""

from wssupervisor import __version__
from wssupervisor.control.verbs import Empty, UpgradeEvent
from wssupervisor.runtime.api.call import Call


async def answer(call: Call[Empty, UpgradeEvent]) -> Empty:
    """Never returns: the connection ends with the upgrade, and the client asks the new program."""
    call.log("upgrade requested")

    async def about_to(version: str) -> None:
        own = call.supervisor.executions
        await call.send({"before": __version__, "version": version, "executions": own})

    await call.services.upgrade.run(about_to)
