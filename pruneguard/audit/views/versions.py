"""The versions a selection is about, each with the documents that tell of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pruneguard.audit.selection import Selection
from pruneguard.evidence import Evidence
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import GivenVerdict, Release, Waiver
from pruneguard.verdict import Finding, Verdict

LIBRARIES = ("great_expectations", "numpy", "onnxruntime", "torch")
"""What evidence names in its context as software that measured."""


@dataclass(frozen=True, slots=True)
class Version:
    """A release, the verdict it rests on, and what that rests on; nothing where the bundle lacks the document."""

    model: str
    release: Release
    given: GivenVerdict
    findings: tuple[Finding, ...]
    evidence: Evidence | None
    """About the model itself."""
    data: Evidence | None
    """About the rows."""
    cut: Event | None
    """The `model.pruned` that made it; None for a dense model."""
    waivers: Mapping[str, Waiver]
    """By rule: the objections that somebody has taken on, whether that still holds or not."""
    clock: str
    """The log's, by which waivers lapse."""

    @property
    def pruned(self) -> bool:
        return self.release.digest != self.release.twin

    @property
    def score(self) -> str:
        """Rules passed of rules checked, and with the waivers that hold."""
        held = sum(not waiver.lapsed(self.clock) for waiver in self.waivers.values())
        return f"{self.given.score()}, {self.given.score(held)} with waivers" if held else self.given.score()

    @property
    def context(self) -> dict[str, str]:
        """How it was measured, as far as any evidence says."""
        return {**(self.data.context if self.data else {}), **(self.evidence.context if self.evidence else {})}

    def outcome(self, finding: Finding) -> str:
        """What came of a rule; a waiver hides no failure."""
        waiver = self.waivers.get(finding.rule)
        return f"{finding.outcome}, {told(waiver, self.clock)}" if waiver else str(finding.outcome)


def versions(selection: Selection) -> tuple[Version, ...]:
    """By number. Of releases of the same bytes the newest stands for all."""
    model = selection.state.models.get(selection.model)
    cuts = {event.refs["model"]: event for _, event in selection.events("model.pruned")}
    newest: dict[str, Release] = {}
    for _, event in selection.events("release.proposed"):
        if model is not None and (release := model.releases.get(event.data["number"])) is not None:
            newest[release.digest] = release
    return tuple(_version(selection, release, cuts.get(release.digest)) for release in newest.values())


def _version(selection: Selection, release: Release, cut: Event | None) -> Version:
    given = selection.state.models[selection.model].by_digest[release.verdict]
    content = selection.document(given.digest)
    evidence = {e.subject: e for e in _evidence(selection, given)}
    return Version(
        model=selection.model,
        release=release,
        given=given,
        findings=() if content is None else Verdict.decode(content).findings,
        evidence=evidence.get(release.digest),
        data=evidence.get(given.data),
        cut=cut,
        waivers=waivers(selection, given),
        clock=selection.state.clock,
    )


def waivers(selection: Selection, given: GivenVerdict) -> dict[str, Waiver]:
    """By rule: the newest waiver of each objection of a verdict that has one, lapsed or not."""
    return selection.state.taken_on(given)


def told(waiver: Waiver, clock: str) -> str:
    """How a waiver stands, in words."""
    return f"waiver lapsed on {waiver.expires}" if waiver.lapsed(clock) else f"waived until {waiver.expires}"


def _evidence(selection: Selection, given: GivenVerdict) -> Iterator[Evidence]:
    for digest in given.evidence:
        if (content := selection.document(digest)) is not None:
            yield Evidence.decode(content)
