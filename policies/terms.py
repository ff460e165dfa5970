"""What a policy says beside its rules: approvals, the steps of a release, monitoring, what follows from what."""

from collections.abc import Callable
from functools import partial
from typing import Any

from pruneguard.documents import Section
from pruneguard.policy import Action, Canary, Monitoring, Policy, Step

DAYS_MAX = 3650


def terms(section: Section, base: Policy) -> dict[str, Callable[[], Any]]:
    """How to read what a policy says beside its rules; what it does not say is as in `base`."""
    return {
        "approvals_min": partial(section.integer, "approvals_min", 1, 10, default=base.approvals_min),
        "canary": lambda: _canary(section.section("canary"), base.canary),
        "monitoring": lambda: _monitoring(section.section("monitoring"), base.monitoring),
        "on_decay": partial(section.choice, "on_decay", Action, default=base.on_decay),
        "server_attested": partial(section.flag, "server_attested", default=base.server_attested),
        "waivers": partial(section.flag, "waivers", default=base.waivers),
        "on_lapse": partial(section.choice, "on_lapse", Action, default=base.on_lapse),
        "evidence_days_max": lambda: (
            section.integer("evidence_days_max", 1, DAYS_MAX)
            if section.has("evidence_days_max")
            else base.evidence_days_max
        ),
    }


def _canary(section: Section | None, base: Canary) -> Canary:
    if section is None:
        return base
    canary = Canary(
        steps=_steps(section) if section.has("steps") else base.steps,
        alpha=section.number("alpha", lambda a: 0 < a <= 0.5, "a rate above 0, at most 0.5", default=base.alpha),
        worse_max=section.number("worse_max", _is_margin, "a share from 0, below 1", default=base.worse_max),
        slower_max=section.number("slower_max", _is_margin, "a share from 0, below 1", default=base.slower_max),
    )
    section.done()
    return canary


def _steps(section: Section) -> tuple[Step, ...]:
    steps: list[Step] = []
    for item in section.sections("steps"):
        step = Step(
            share=item.number("share", is_step, "a share above 0 and below 1, of six digits at most"),
            requests_min=item.integer("requests_min", 1, 1_000_000_000),
            seconds_min=item.integer("seconds_min", 0, 10_000_000, default=0),
        )
        item.done()
        if steps and step.share <= steps[-1].share:
            item.refuse("share", f"{step.share:g} after {steps[-1].share:g}; each step is a larger share")
        steps.append(step)
    return tuple(steps)


def is_step(share: float) -> bool:
    """A share that an event can name as it is."""
    return 0.000001 <= share < 1 and float(f"{share:g}") == share and "e" not in f"{share:g}"


def _is_margin(value: float) -> bool:
    return 0 <= value < 1


def _monitoring(section: Section | None, base: Monitoring) -> Monitoring:
    if section is None:
        return base
    monitoring = Monitoring(
        twin_share=section.number("twin_share", _is_share, "a share above 0, at most 1", default=base.twin_share),
        alpha=section.number("alpha", lambda a: 0 < a <= 0.5, "a rate above 0, at most 0.5", default=base.alpha),
        tolerance=section.number(
            "tolerance", lambda t: 0 < t < 1, "a loss of accuracy above 0 and below 1", default=base.tolerance
        ),
    )
    section.done()
    return monitoring


def _is_share(value: float) -> bool:
    return 0 < value <= 1
