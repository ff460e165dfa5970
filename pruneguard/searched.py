"""What a search tells people: every candidate tried, whether it passed, and why."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pruneguard.attempts import Attempt, choose, nearest, result
from pruneguard.evaluation.correctness.potential import Potential, potentials
from pruneguard.evidence import Estimate, Evidence, PairedTable
from pruneguard.gates.assurance import ENOUGH
from pruneguard.lifecycle import Job
from pruneguard.manifest import Objective
from pruneguard.plots import Fate, Shown, candidates_page
from pruneguard.policy import Policy
from pruneguard.statistics import tango_lower, tango_upper
from pruneguard.verdict import Outcome

OBJECTIVES = {
    Objective.SPARSITY: "weights",
    Objective.LATENCY: "time of an answer",
    Objective.SIZE: "bytes",
}
"""What a candidate has a share of, the twin's being the whole."""

_ALPHA = 0.05


def shown(job: Job, attempts: Sequence[Attempt]) -> list[Shown]:
    """The candidates in the order in which they were tried, each with what the plot and the table say of it."""
    chosen = choose(job, attempts)
    return [_shown(job, tried, chosen=tried is chosen) for tried in attempts]


def page(job: Job, attempts: Sequence[Attempt]) -> bytes:
    """A page of its own, with the figure and the table."""
    objective = OBJECTIVES[job.manifest.objective]
    chosen = choose(job, attempts)
    best = f"Chosen: {chosen.trial.words}." if chosen else "No candidate passed."
    told = f"Run {job.run}, on the gate split. {best} Shares are of the dense twin's."
    return candidates_page(
        shown(job, attempts),
        title=f"{job.manifest.model}: {len(attempts)} candidates under policy {job.policy.name} {job.policy.version}",
        words=" ".join([told, *_potential(job, attempts)]),
        objective=objective,
        accuracy="accuracy minus the twin's",
        margin=_margin(job.policy),
    )


def outline(job: Job, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The same as a JSON document, for programs."""
    chosen, near = choose(job, attempts), nearest(job, attempts)
    return {
        "run": job.run,
        "model": job.manifest.model,
        "objective": job.manifest.objective.value,
        "chosen": None if chosen is None or chosen.candidate is None else _trial(chosen),
        "nearest": None if chosen is not None or near is None else _trial(near),
        "potential": {name: asdict(found) for name, found in _potentials(job, attempts).items()},
        "full_evaluations": sum(result(job, tried).full for tried in attempts),
        "candidates": [
            {**_trial(tried), "outcome": each.outcome.value, "objective": each.objective, "why": each.reason}
            | {"accuracy_difference": each.accuracy, "low": each.low, "high": each.high}
            for tried, each in zip(attempts, shown(job, attempts), strict=True)
        ],
    }


def summary(job: Job, tried: Attempt, *, chosen: bool) -> str:
    """How one candidate fared, in a line."""
    if tried.verdict is None or tried.evidence is None:
        return f"{tried.trial.words}: no network"
    found = result(job, tried)
    mark = "chosen" if chosen else fate(job, tried).value
    whole = OBJECTIVES[job.manifest.objective]
    share = "" if found.objective is None else f", {100 * found.objective:.3g} % of the twin's {whole}"
    return f"{tried.trial.words}: {mark}, {right(tried.evidence)}{share}"


def fate(job: Job, tried: Attempt) -> Fate:
    """How a candidate ended that was not chosen."""
    if tried.assurance is not None:
        return Fate.PASSED if tried.passed else Fate.DOUBTFUL
    return Fate.REFUSED if result(job, tried).full else Fate.STOPPED


def doubt(tried: Attempt) -> str | None:
    """Why a candidate that the policy let pass is not taken for one that passes; None where it is, or did not pass."""
    if tried.assurance is None or tried.passed:
        return None
    return f"doubtful: {tried.assurance}; {100 * ENOUGH:g} % is asked"


def right(evidence: Evidence) -> str:
    """The candidate's accuracy, where it was measured, for people to read."""
    measured = evidence.get("quality.accuracy")
    return f"{100 * measured.value:.1f} % right" if isinstance(measured, Estimate) else "accuracy not measured"


def _potentials(job: Job, attempts: Sequence[Attempt]) -> dict[str, Potential]:
    """How much may go within the policy's margin on clean rows, by what is measured: clean rows and each damage."""
    margin = _margin(job.policy)
    if margin is None:
        return {}
    sizes = ((tried.evidence, tried.evidence.get("efficiency.nonzero_ratio")) for tried in attempts if tried.evidence)
    gone = ((1 - size.value, evidence.measurements) for evidence, size in sizes if isinstance(size, Estimate))
    return potentials(gone, margin=-margin, alpha=_ALPHA)


def _potential(job: Job, attempts: Sequence[Attempt]) -> list[str]:
    """The same in a sentence; none where a single candidate was measured."""
    known = {name: each.shown for name, each in _potentials(job, attempts).items() if each.candidates > 1}
    told = ", ".join(f"{name} {share:.0%}" for name, share in known.items())
    return [f"Weights that may go before more than the margin on clean rows is lost: {told}."] if told else []


def _trial(tried: Attempt) -> dict[str, Any]:
    digest = None if tried.candidate is None else tried.candidate.digest
    return {"recipe": tried.trial.recipe, "ratio": tried.trial.ratio, "model": digest}


def _shown(job: Job, tried: Attempt, *, chosen: bool) -> Shown:
    found = result(job, tried)
    table = None if tried.evidence is None else tried.evidence.get("quality.paired")
    paired = table if isinstance(table, PairedTable) and table.n else None
    return Shown(
        tried.trial.recipe,
        tried.trial.ratio,
        found.objective,
        None if paired is None else paired.difference,
        None if paired is None else tango_lower(paired, alpha=_ALPHA),
        None if paired is None else tango_upper(paired, alpha=_ALPHA),
        Fate.CHOSEN if chosen else fate(job, tried),
        _reason(tried),
    )


def _reason(tried: Attempt) -> str:
    if tried.verdict is None:
        return tried.reason or ""
    if (why := doubt(tried)) is not None:
        return why
    told = [f for f in tried.verdict.objections if f.outcome is not Outcome.NO_EVIDENCE] or tried.verdict.objections
    return "; ".join(f"{finding.rule}: {finding.observed}, required {finding.required}" for finding in told)


def _margin(policy: Policy) -> float | None:
    """What the policy's rule about clean rows asks of the lower end of an interval."""
    rules = [rule for rule in policy.rules if rule.measurement == "quality.paired" and "margin" in rule.parameters]
    return -min(rule.parameters["margin"] for rule in rules) if rules else None
