"""Prometheus metrics, read from the services when somebody asks."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.domain.alerts import Severity
from gateway.services.deriving import Deriver
from gateway.services.intake import Intake
from gateway.supervise import Board

Trusted = Callable[[], bool]
ModelCounts = Callable[[], Mapping[str, int]]  # models from the repository by where they stand


class GatewayCollector(Collector):
    """Everything that /metrics tells of the gateway itself."""

    def __init__(
        self, intake: Intake, deriver: Deriver, board: Board, trusted: Trusted, models: ModelCounts
    ) -> None:
        self._models = models
        self._intake = intake
        self._deriver = deriver
        self._board = board
        self._trusted = trusted

    def collect(self) -> Iterable[Metric]:
        """Yield all families."""
        counters = self._intake.counters
        for name, help_text, value in (
            ("messages", "MQTT messages taken in", counters.messages),
            ("readings", "Readings decoded", counters.readings),
            ("readings_duplicate", "Readings that had been stored before", counters.duplicates),
            ("commits", "Commits of the intake", counters.commits),
        ):
            yield CounterMetricFamily(f"wattwarden_{name}", help_text, value=value)
        dead = CounterMetricFamily(
            "wattwarden_dead_letters", "Messages that could not be stored", labels=["reason"]
        )
        for reason, count in sorted(counters.dead_letters.items()):
            dead.add_metric([reason], count)
        yield dead
        crowded = CounterMetricFamily(
            "wattwarden_messages_crowded_out",
            "Messages of readings dropped so that other meters get their turn",
            labels=["meter"],
        )
        for meter, count in sorted(counters.crowded_out.items()):
            crowded.add_metric([meter], count)
        yield crowded
        yield from self._gauges()

    def _gauges(self) -> Iterable[Metric]:
        intake, deriver = self._intake, self._deriver
        judged = min(deriver.judged_row, intake.ledger.next_row - 1)
        for name, help_text, value in (
            ("connected", "1 while connected to the broker", float(intake.connected)),
            ("clock_trusted", "1 while the wall clock may be believed", float(self._trusted())),
            ("meters", "Registered meters", len(intake.ledger.meters)),
            ("ingest_backlog", "Messages not committed yet", intake.backlog),
            ("judge_backlog", "Readings not judged yet", intake.ledger.next_row - 1 - judged),
        ):
            yield GaugeMetricFamily(f"wattwarden_{name}", help_text, value=value)
        alerts = GaugeMetricFamily(
            "wattwarden_open_alerts", "Alerts that are not resolved", labels=["severity"]
        )
        book = deriver.desk.book.open_alerts
        for severity in Severity:
            alerts.add_metric([severity.value], sum(a.severity is severity for a in book))
        yield alerts
        models = GaugeMetricFamily(
            "wattwarden_models", "Models from the repository, by where they stand", labels=["state"]
        )
        for state, count in self._models().items():
            models.add_metric([state], count)
        yield models
        up = GaugeMetricFamily(
            "wattwarden_service_up", "1 while a service runs", labels=["service"]
        )
        for service, health in self._board.services.items():
            up.add_metric([service], float(health.state == "running"))
        yield up


def registry_of(
    intake: Intake, deriver: Deriver, board: Board, trusted: Trusted, models: ModelCounts = dict
) -> CollectorRegistry:
    """Return a registry of our own, so that two gateways in one process do not mix."""
    registry = CollectorRegistry()
    registry.register(GatewayCollector(intake, deriver, board, trusted, models))
    ProcessCollector(registry=registry)
    return registry
