"""metrics: what monitoring reads, as Prometheus text or as JSON."""

from wssupervisor.control.verbs import Empty, Metrics, MetricsRequest
from wssupervisor.runtime.api.call import Call


async def answer(call: Call[MetricsRequest, Empty]) -> Metrics:
    scrape = call.services.scrape
    if call.request.get("json", False):
        return {"metrics": [{**family} for family in scrape.documents()]}
    return {"text": scrape.text()}
