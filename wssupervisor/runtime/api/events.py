"""events: the history, and what happens from now on."""

from wssupervisor.control.verbs import Empty, EventsRequest, Noted
from wssupervisor.runtime.api.call import Call, limit
from wssupervisor.runtime.api.followed import followed


async def answer(call: Call[EventsRequest, Noted]) -> Empty:
    since = limit("since", call.request.get("since"))
    history = call.supervisor.history
    with followed(history) as events:
        for event in history.since(since, call.request.get("last")):
            await call.send({"note": event})
        while call.request.get("follow", False):
            event = await events.get()
            await call.send({"note": event})
            if event["kind"] == "stopped":
                break
    return {}
