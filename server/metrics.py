"""Numbers about the server for Prometheus; no names of people, scripts or hosts in labels, so they stay few."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "outrider_http_requests", "HTTP requests answered", ["method", "status"], registry=self._registry
        )
        self.request_seconds = Histogram(
            "outrider_http_request_seconds", "From request to answer", buckets=_SECONDS, registry=self._registry
        )
        self.agents = Gauge("outrider_agents_connected", "Agents with a link now", registry=self._registry)
        self.records = Counter("outrider_records", "Records of agents taken in", registry=self._registry)
        self.runs = Counter("outrider_runs", "Runs that ended", ["status"], registry=self._registry)
        self.refusals = Counter("outrider_refusals", "Requests and links refused", ["code"], registry=self._registry)

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)
