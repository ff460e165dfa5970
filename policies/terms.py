"""What a policy says beside its rules: approvals, the first step of a release, monitoring, what follows from what."""

from collections.abc import Callable
from functools import partial
from typing import Any

from pruneguard.documents import Section
from pruneguard.policy import Action, Canary, Monitoring, Policy


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
    }


def _canary(section: Section | None, base: Canary) -> Canary:
    if section is None:
        return base
    canary = Canary(
        share=section.number("share", _is_share, "a share above 0, at most 1", default=base.share),
        requests_min=section.integer("requests_min", 1, 1_000_000_000, default=base.requests_min),
    )
    section.done()
    return canary


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
