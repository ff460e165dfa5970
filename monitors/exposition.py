"""What Prometheus sees. The only file that knows prometheus_client.

Labels are bounded by what the ledger names: models, release numbers, and closed sets of words. Nothing that a client
sends becomes a label.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pruneguard.serving.workers import Fleet

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RELEASE = ("model", "version")

Key = tuple[str, int]
"""A release: its model's name and its number."""


class Metrics:
    """Every metric of one gateway process, in a registry of its own. Safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._polled = time.monotonic()
        self._answered: dict[Key, tuple[Counter, Histogram]] = {}

        def counter(name: str, text: str, labels: tuple[str, ...] = RELEASE) -> Counter:
            return Counter(f"pruneguard_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = RELEASE) -> Gauge:
            return Gauge(f"pruneguard_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"pruneguard_{name}", text, RELEASE, buckets=SECONDS, registry=registry)

        self._requests = counter("requests", "Requests, by what became of them.", ("model", "version", "outcome"))
        self._seconds = histogram("request_seconds", "From request read to answer made.")
        self._twin_runs = counter("twin_runs", "Rows that the dense twin answered too.")
        self._flips = counter("twin_flips", "Of these, rows on which the two named different classes.")
        self._twin_failures = counter("twin_failures", "Sampled rows that the twin failed to answer.")
        self._twin_skipped = counter(
            "twin_skipped", "Sampled rows that the twin was not asked about, to save its cost."
        )
        self._twin_seconds = histogram("twin_seconds", "What the twin took to answer some rows, failures included.")
        self._labels = _Labels()
        registry.register(self._labels)
        self._dropped = counter("observations_dropped", "Rows that no monitor looked at.", ())
        self._errors = counter("monitor_errors", "Failures of the monitor itself; its log says which.", ())
        self._twin_share = gauge("twin_share", "Share of the rows that the twin should answer; 0 for the twin itself.")
        self._evalue = gauge("decay_evalue_log10", "Evidence against 'no worse than at the gate', log10.")
        self._alarm = gauge("decay_alarm", "1 from the decay alarm of a release until a newer one is live.")
        self._loss = gauge(
            "decay_accuracy_lost_max", "Bound on the accuracy lost to pruning so far, at the policy's alpha."
        )
        self._drift = gauge("drift_columns", "Columns that drifted in the newest report.")
        self._live = gauge("live_version", "Number of the release that is live; 0 when none is.", ("model",))
        self._canary = gauge("canary_share", "Share of the traffic that goes to the canary.", ("model",))
        self._findings = gauge("gate_findings", "Findings of a release's verdict.", ("model", "version", "outcome"))
        self._size = gauge("ledger_size", "Entries in the ledger when it was last read.", ())
        self._cosigned = gauge("cosigned_size", "Entries that this witness has cosigned.", ("witness",))
        self._unwitnessed = counter("witness_failures", "Rounds in which this witness did not cosign.", ("witness",))
        self._alive = gauge("workers", "Processes that answer.", ())
        self._wanted = gauge("workers_wanted", "Processes that should answer; 0 when this one does.", ())
        self._fleet: dict[str, int] = {}
        self._of_workers = {
            "restarts": counter("worker_restarts", "Workers that ended by themselves and were replaced.", ()),
            "requests_lost": counter("worker_requests_lost", "Requests that such a worker had begun.", ()),
            "turned_away": counter("connections_turned_away", "Connections over the limit of a worker.", ()),
        }
        age = gauge("ledger_poll_age_seconds", "Since the monitor last read the ledger.", ())
        age.set_function(lambda: time.monotonic() - self._polled)  # ages even when the monitor is dead

    def render(self) -> tuple[bytes, str]:
        """The body of GET /metrics and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    # -- traffic: called on the answer's path -------------------------------------------------------------------------

    def answered(self, release: Key, *, seconds: float) -> None:
        if (children := self._answered.get(release)) is None:  # looking labels up costs more than counting
            labels = _labels(release)
            children = self._requests.labels(*labels, "answered"), self._seconds.labels(*labels)
            self._answered[release] = children
        children[0].inc()
        children[1].observe(seconds)

    def refused(self, model: str, *, reason: str) -> None:
        self._requests.labels(model, "", reason).inc()

    def dropped(self, rows: int = 1) -> None:
        self._dropped.inc(rows)

    def workers(self, fleet: Fleet) -> None:
        """How the processes that answer are."""
        self._alive.set(fleet.alive)
        self._wanted.set(fleet.wanted)
        for name, total in (
            ("restarts", fleet.restarts), ("requests_lost", fleet.requests_lost), ("turned_away", fleet.turned_away)
        ):  # fmt: skip
            self._of_workers[name].inc(total - self._fleet.get(name, 0))
            self._fleet[name] = total

    # -- witnesses ----------------------------------------------------------------------------------------------------

    def witnessed(self, *, size: int, cosigned: Iterable[str], failed: Iterable[str]) -> None:
        """A round in which the newest checkpoint was shown to the witnesses of the trust policy."""
        for witness in cosigned:
            self._unwitnessed.labels(witness)
            self._cosigned.labels(witness).set(size)
        for witness in failed:
            self._unwitnessed.labels(witness).inc()

    # -- the twin and its verdict on live traffic ---------------------------------------------------------------------

    def expect_twin(self, release: Key, *, share: float) -> None:
        """Say how much of the twin is wanted, and start its counters at 0, so that their rates are seen."""
        labels = _labels(release)
        self._twin_share.labels(*labels).set(share)
        for started in (self._twin_runs, self._flips, self._twin_failures, self._twin_skipped):
            started.labels(*labels)

    def compared(self, release: Key, *, flip: bool) -> None:
        labels = _labels(release)
        self._twin_runs.labels(*labels).inc()
        self._flips.labels(*labels).inc(flip)

    def twin_failed(self, release: Key, *, rows: int) -> None:
        self._twin_failures.labels(*_labels(release)).inc(rows)

    def twin_skipped(self, release: Key, *, rows: int) -> None:
        self._twin_skipped.labels(*_labels(release)).inc(rows)

    def twin_asked(self, release: Key, *, seconds: float) -> None:
        self._twin_seconds.labels(*_labels(release)).observe(seconds)

    def labels(self, model: str, counts: Mapping[str, int]) -> None:
        """What the store of labels has counted, by outcome; `waiting` are those that wait now."""
        self._labels.counts[model] = dict(counts)

    def decay(self, release: Key, *, evalue_log10: float, loss_max: float) -> None:
        labels = _labels(release)
        self._evalue.labels(*labels).set(evalue_log10)
        self._loss.labels(*labels).set(loss_max)

    def alarm(self, release: Key, *, on: bool) -> None:
        self._alarm.labels(*_labels(release)).set(on)

    def forget_alarm(self, release: Key) -> None:
        self._alarm.remove(*_labels(release))

    def drift(self, release: Key, *, columns: int) -> None:
        self._drift.labels(*_labels(release)).set(columns)

    def error(self) -> None:
        self._errors.inc()

    def forget(self, release: Key) -> None:
        """Take the gauges of a release that has left the traffic out of the exposition; its counters stay."""
        for gauge in (self._twin_share, self._evalue, self._loss, self._drift):
            gauge.remove(*_labels(release))

    # -- what others count --------------------------------------------------------------------------------------------

    def reads(
        self, *, observer_failures: Callable[[], int], cut_off: Callable[[], bool], age_s: Callable[[], float]
    ) -> None:
        """Ask these whenever metrics are read; called once."""
        self._registry.register(_Failures(observer_failures))
        gone = Gauge(
            "pruneguard_gateway_cut_off", "1 while the gateway cannot read the ledger.", registry=self._registry
        )
        gone.set_function(lambda: float(cut_off()))
        age = Gauge(
            "pruneguard_gateway_proved_age_seconds",
            "Since the gateway last read in the ledger what it serves.",
            registry=self._registry,
        )
        age.set_function(age_s)

    # -- what the ledger says -----------------------------------------------------------------------------------------

    def polled(self, *, size: int) -> None:
        self._polled = time.monotonic()
        self._size.set(size)

    def traffic(self, model: str, *, live: int, canary_share: float) -> None:
        self._live.labels(model).set(live)
        self._canary.labels(model).set(canary_share)

    def findings(self, release: Key, counts: Mapping[str, int]) -> None:
        """How many findings of each outcome a release's verdict has."""
        for outcome, count in counts.items():
            self._findings.labels(*_labels(release), outcome).set(count)


class _Labels(Collector):
    """Counters that a store keeps over all restarts."""

    def __init__(self) -> None:
        self.counts: dict[str, Mapping[str, int]] = {}

    def collect(self) -> Iterable[Metric]:
        so_far = CounterMetricFamily(
            "pruneguard_labels", "Labels, by what became of them.", labels=("model", "outcome")
        )
        waiting = GaugeMetricFamily(
            "pruneguard_labels_waiting", "Labels whose answer no sealed window holds yet.", labels=("model",)
        )
        for model, counts in sorted(self.counts.items()):
            for outcome, count in counts.items():
                if outcome == "waiting":
                    waiting.add_metric((model,), count)
                else:
                    so_far.add_metric((model, outcome), count)
        return (so_far, waiting)


class _Failures(Collector):
    """A counter that somebody else keeps."""

    def __init__(self, source: Callable[[], int]) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        text = "Answers and refusals on which the observer failed; the gateway's log says how."
        yield CounterMetricFamily("pruneguard_observer_failures", text, value=self._source())


def _labels(release: Key) -> tuple[str, str]:
    model, number = release
    return model, str(number)
