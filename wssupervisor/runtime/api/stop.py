"""stop: the end of the instance, unless systemd runs it."""

from wssupervisor.control.verbs import Empty, Stop, StopRequest
from wssupervisor.errors import OperationFailed
from wssupervisor.fleet.actions import Stopped
from wssupervisor.fleet.events import StopRequested
from wssupervisor.runtime.api.call import Call, limit
from wssupervisor.runtime.systemd import stop_command


async def answer(call: Call[StopRequest, Empty]) -> Stop:
    if (command := stop_command(call.supervisor.config.name)) is not None:
        raise OperationFailed(f"systemd runs this instance. Stop it with: {command}")
    within = limit("within", call.request.get("within"))
    call.log("stop requested")
    request = call.next_request()
    outcome = await call.ask(request, StopRequested(request, within))
    if not isinstance(outcome, Stopped):
        raise call.failure(outcome)
    return {"stopped": True}
