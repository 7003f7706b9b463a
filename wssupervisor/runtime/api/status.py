"""status: the document of what runs now."""

from wssupervisor.control.documents import Status
from wssupervisor.control.verbs import Empty
from wssupervisor.runtime.api.call import Call
from wssupervisor.runtime.observe.status_document import document


async def answer(call: Call[Empty, Empty]) -> Status:
    await call.watch.fresh_count()
    call.watch.glance()
    own = call.supervisor
    return document(
        own.config.name,
        own.view(),
        own.listeners,
        own.executions,
        call.watch.usage.by_pid,
        stored=own.store.confirmed,
    )
