"""history: past reloads and rollbacks."""

from wssupervisor.control.verbs import Empty, History, HistoryRequest
from wssupervisor.runtime.api.call import Call, limit


async def answer(call: Call[HistoryRequest, Empty]) -> History:
    since = limit("since", call.request.get("since"))
    return {"reloads": call.supervisor.history.reloads_since(since)}
