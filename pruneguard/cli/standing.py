"""`pruneguard status --at`: what answered at a moment, who agreed to it and on which evidence, with its proof."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger
    from pruneguard.ledger.state import Answering, Diverted, Model, Release, State


def approvals(release: "Release") -> list[dict[str, Any]]:
    """Who agreed, how surely it was they, when, why, and where the log says so."""
    return [
        {
            "actor": approval.actor,
            "person": approval.person,
            "assurance": approval.assurance.value,
            "reason": approval.reason,
            "time": approval.time,
            "index": approval.index,
        }
        for approval in release.approvals
    ]


def diverted(diverted: "Diverted") -> dict[str, Any]:
    """Where the traffic of a model goes in place of its releases; `to` is None where nothing answers."""
    return {"to": diverted.to, "by": diverted.by, "reason": diverted.reason, "time": diverted.time}


def step(step: dict[str, Any]) -> str:
    """Where a canary stands on its way, for people."""
    time = f", {step['seconds_left']} of {step['seconds_min']} s left" if step["seconds_min"] else ""
    return (
        f"{step['answered']} of {step['requests_min']} requests sealed, {step['requests_left']} left{time}; "
        f"then, if it is no worse than what is live, {step['next']:.0%} of the traffic"
    )


def stood(state: "State", models: Iterable["Model"], at: str) -> list[dict[str, Any]]:
    """What each model's requests were answered by at a moment."""
    return [{"model": model.name, "answering": [_one(state, a, at) for a in model.standing(at)]} for model in models]


def _one(state: "State", answering: "Answering", at: str) -> dict[str, Any]:
    from pruneguard import releases

    release, verdict, policy = answering.release, answering.verdict, state.policies[answering.release.policy]
    return {
        "number": release.number,
        "digest": release.digest,
        "share": answering.stretch.share,
        "since": answering.stretch.time,
        "author": release.author,
        "approvals": approvals(release),
        "policy": {"name": policy.name, "version": policy.version, "digest": policy.digest},
        "verdict": {"digest": verdict.digest, "passed": verdict.passed, "score": verdict.score()},
        "waived": releases.told_waivers(state, release, at) or None,
        "data": verdict.data,
        "twin": verdict.twin,
        "evidence": list(verdict.evidence),
        "decided_by": list(answering.decided_by),
    }


def lines(standing: list[dict[str, Any]], at: str) -> Iterator[str]:
    """The same, for people."""
    for model in standing:
        if not model["answering"]:
            yield f"{model['model']}: nothing answered at {at}"
        for one in model["answering"]:
            yield f"{model['model']}: version {one['number']} answered {one['share']:.0%} at {at}, since {one['since']}"
            yield f"  artefact    {one['digest']}"
            for approval in one["approvals"]:
                yield (
                    f"  approved    by {approval['actor']} ({approval['assurance']}) {approval['time']}: "
                    f"{approval['reason']}"
                )
            yield f"  policy      {one['policy']['name']} version {one['policy']['version']}, {one['policy']['digest']}"
            passed = "passed" if one["verdict"]["passed"] else "failed"
            yield f"  verdict     {passed}, {one['verdict']['score']} rules, {one['verdict']['digest']}"
            if one["waived"]:
                yield f"              {one['waived']}"
            for digest in one["evidence"]:
                yield f"  evidence    {digest}"
            yield f"  decided by  entries {', '.join(map(str, one['decided_by']))}"


def write_proofs(ledger: "Ledger", standing: list[dict[str, Any]], folder: Path) -> list[Path]:
    """A `.tlog-proof` for every entry that decided: that it stands in the log, under the newest checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = sorted({index for model in standing for one in model["answering"] for index in one["decided_by"]})
    paths = [folder / f"{index}.tlog-proof" for index in positions]
    for index, path in zip(positions, paths, strict=True):
        path.write_bytes(ledger.proof(index))
    return paths
