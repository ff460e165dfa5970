"""Shows state and observation as metrics, at every step of the monitor."""

from collections import Counter
from collections.abc import Mapping

from monitors import decisions
from monitors.exposition import Key, Metrics
from monitors.watched import Watched
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.state import Release, State
from pruneguard.verdict import Verdict


class Panel:
    """Remembers what it showed, so that what is over disappears."""

    def __init__(self, metrics: Metrics, artifacts: Artifacts) -> None:
        self._metrics = metrics
        self._artifacts = artifacts
        self._findings: dict[Key, str] = {}
        self._alarms: set[Key] = set()

    def show(self, state: State, watched: Mapping[Key, Watched]) -> None:
        """Traffic, detectors, alarms; findings come last, as reading them may raise what the store raises."""
        for model in state.models.values():
            if model.releases:
                live, canary = model.live, model.canary
                share = canary.share if canary else 0.0
                self._metrics.traffic(model.name, live=live.number if live else 0, canary_share=share)
        for key, one in watched.items():
            if one.monitor is not None:
                loss = one.monitor.loss.upper(alpha=one.policy.monitoring.alpha)
                self._metrics.decay(key, evalue_log10=one.monitor.disagreement.log10, loss_max=loss)
        self._show_alarms(state, watched)
        for model in state.models.values():
            for release in filter(None, (model.live, model.canary)):
                self._show_findings(release)

    def _show_alarms(self, state: State, watched: Mapping[Key, Watched]) -> None:
        """An alarm shows as soon as its detector has it; while its cause is sought, the ledger knows nothing of it."""
        monitored = {key: one.monitor for key, one in watched.items() if one.monitor}
        standing = {(model.name, n) for model in state.models.values() for n in decisions.standing_alarms(state, model)}
        on = standing | {key for key, monitor in monitored.items() if monitor.alarm}
        shown = on | monitored.keys()
        for key in self._alarms - shown:
            self._metrics.forget_alarm(key)
        for key in shown:
            self._metrics.alarm(key, on=key in on)
        self._alarms = shown

    def _show_findings(self, release: Release) -> None:
        key = release.model, release.number
        if self._findings.get(key) != release.verdict:
            verdict = Verdict.decode(self._artifacts.get(release.verdict))
            self._metrics.findings(key, Counter(finding.outcome.value for finding in verdict.findings))
            self._findings[key] = release.verdict
