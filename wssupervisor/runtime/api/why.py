"""why: what keeps a generation alive."""

from wssupervisor.control.documents import Why
from wssupervisor.control.verbs import Empty, WhyRequest
from wssupervisor.errors import OperationFailed
from wssupervisor.runtime.api.call import Call
from wssupervisor.runtime.observe.why_document import document


async def answer(call: Call[WhyRequest, Empty]) -> Why:
    number = call.request["generation"]
    await call.watch.count()
    connections = await call.watch.connections_of(number)
    generations = {one.number: one for one in call.supervisor.view().generations}
    if number not in generations:
        numbers = ", ".join(map(str, generations))
        raise OperationFailed(
            f"generation {number} does not exist (existing generations: {numbers})"
        )
    return document(generations[number], connections)
