"""The monitor's events: what it writes into the ledger, and where it names the bytes behind it.

Numbers that are not whole travel as text. Causation ids make every one of them a thing that happens once.
"""

from collections.abc import Sequence
from typing import Any

from monitors.labelling import Labelled
from monitors.observations import Observation
from monitors.twin import TwinMonitor
from pruneguard.comparison import Comparison, Judgement
from pruneguard.ledger.events import Event
from pruneguard.ledger.promotion import CANARY_DETECTOR, WAIVER_DETECTOR
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Alarm, Release, Waiver

DETECTOR = "twin disagreement"


def batch_sealed(
    release: Release,
    rows: Sequence[Observation],
    monitor: TwinMonitor[Any] | None,
    *,
    batch: int,
    answered: int,
    dropped: int,
    accounted: int,
    twin_skipped: int,
    labels: int,
    labelled: Labelled,
    alpha: float,
    refs: dict[str, str],
) -> Event:
    """A window was sealed. `rows`, `twin_runs`, `flips`, `dropped` (rows that nobody looked at), `twin_skipped` (rows
    that the twin was not asked about, for what it may cost) and `labels` are the window's own; a window that only
    brings labels has no rows.

    `answered` (requests), `accounted` (rows sealed or dropped), `labelled` and `labelled_wrong` (rows) and the
    monitor's numbers are the release's up to now: `evalue` against `threshold`, and `accuracy_lost_max`, the bound on
    what pruning has cost so far. `refs["monitor"]` names the state from which a restarted monitor goes on,
    `refs["labels"]` the labels that were joined to what this window or an earlier one holds.
    """
    data: dict[str, Any] = {
        "model": release.model,
        "number": release.number,
        "batch": batch,
        "rows": len(rows),
        "twin_runs": sum(row.agrees is not None for row in rows),
        "flips": sum(row.agrees is False for row in rows),
        "dropped": dropped,
        "twin_skipped": twin_skipped,
        "labels": labels,
        "answered": answered,
        "accounted": accounted,
        "labelled": labelled.count,
        "labelled_wrong": labelled.wrong,
    }
    if monitor is not None:
        data |= {
            "evalue": f"{monitor.disagreement.value:.6g}",
            "threshold": f"{1 / monitor.disagreement.alpha:g}",
            "uncertainty_evalue": f"{monitor.uncertainty.value:.6g}",
            "accuracy_lost_max": f"{monitor.loss.upper(alpha=alpha):.6f}",
        }
    causation = f"{release.model}/{release.number}/batch/{batch}"
    return Event("batch.sealed", MONITOR, data, {"model": release.digest, **refs}, causation)


def alarm_raised(release: Release, monitor: TwinMonitor[Any]) -> Event:
    """The monitor's alarm, once its cause is known: what the counters read when it came on."""
    assert monitor.alarm is not None  # a cause is the cause of an alarm
    assert monitor.cause is not None
    data = {
        "model": release.model,
        "number": release.number,
        "detector": DETECTOR,
        "cause": monitor.cause.value,
        "evidence": {
            "evalue": f"{monitor.alarm.evalue:.6g}",
            "threshold": f"{monitor.alarm.threshold:g}",
            "requests": monitor.alarm.rows,
            "twin_runs": monitor.alarm.twin_runs,
            "flips": monitor.alarm.flips,
            "twin_unsure_evalue": f"{monitor.uncertainty.value:.6g}",
        },
    }
    return Event(
        "alarm.raised", MONITOR, data, {"model": release.digest}, f"{release.model}/{release.number}/alarm/{DETECTOR}"
    )


def waiver_lapsed(release: Release, waiver: Waiver, *, now: str) -> Event:
    """A release in traffic rests on a waiver that does not hold any more at `now`: told once for each waiver."""
    data = {
        "model": release.model,
        "number": release.number,
        "detector": WAIVER_DETECTOR,
        "cause": "waiver lapsed",
        "waiver": waiver.event,
        "evidence": {"rule": waiver.rule, "expires": waiver.expires, "granted_by": waiver.granted_by},
    }
    # A release that is gone back to is told of anew: its share changed at another time.
    causation = f"{release.model}/{release.number}/alarm/{WAIVER_DETECTOR}/{waiver.event}/since/{release.changed_at}"
    return Event("alarm.raised", MONITOR, data, {"model": release.digest}, causation, time=now)


def canary_stopped(release: Release, seen: Comparison, judged: Judgement) -> Event:
    """A canary was shown to be worse than what is live. The comparison, stored before, says by which counts."""
    assert judged.test is not None  # else nothing is stopped
    data = {
        "model": release.model,
        "number": release.number,
        "detector": CANARY_DETECTOR,
        "cause": judged.test.value,
        "evidence": {"reason": judged.reason, "requests": seen.requests, "seconds": seen.seconds, "live": seen.live},
    }
    refs = {"model": release.digest, "comparison": seen.digest}
    return Event("alarm.raised", MONITOR, data, refs, f"{release.model}/{release.number}/alarm/{CANARY_DETECTOR}")


def drift_reported(
    release: Release, *, batch: int, drifted: Sequence[str], columns: int, refs: dict[str, str]
) -> Event:
    """Inputs were compared with the release's first window; how many of how many columns moved."""
    data = {
        "model": release.model,
        "number": release.number,
        "batch": batch,
        "drifted": len(drifted),
        "columns": columns,
        "names": list(drifted),
    }
    causation = f"{release.model}/{release.number}/drift/{batch}"
    return Event("drift.reported", MONITOR, data, {"model": release.digest, **refs}, causation)


def rollback_reason(alarm: Alarm) -> str:
    """An alarm in a sentence, for whoever reads why a version left the traffic."""
    seen = alarm.data["evidence"]
    if alarm.detector == CANARY_DETECTOR:
        return str(seen["reason"])
    if alarm.detector == WAIVER_DETECTOR:
        return f"{alarm.cause}: {seen['rule']}, taken on by {seen['granted_by']} until {seen['expires']}"
    return (
        f"{alarm.detector}: e-value {seen['evalue']} against {seen['threshold']} after {seen['requests']} requests, "
        f"{seen['flips']} of {seen['twin_runs']} answers unlike the twin's; cause: {alarm.cause}"
    )
