"""A Hugging Face model card for each version: front matter for programs, tables for people.

https://huggingface.co/docs/hub/model-cards. The hub knows no relation "pruned" to a base model, so `base_model` names
the twin and the text says how the version was cut. Text of people is escaped: it can end no cell and open no link.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite

from pruneguard.audit import bundle
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import vocabulary as words
from pruneguard.audit.views.bom import number
from pruneguard.audit.views.versions import Version, told, versions
from pruneguard.evidence import Estimate

TASKS = {"images": "image-classification", "table": "tabular-classification"}

_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~&!@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def cards(selection: Selection) -> dict[str, bytes]:
    """models/<digest>/README.md"""
    return {path(v.release.digest): "\n".join(_card(v)).encode() + b"\n" for v in versions(selection)}


def path(model: str) -> str:
    return f"models/{words.hexadecimal(model)}/README.md"


def plain(text: str) -> str:
    """Text as one line of Markdown that means nothing but itself.

    >>> plain("a|b [c](https://d) <e>")
    'a\\\\|b \\\\[c\\\\](https\\\\://d) \\\\<e\\\\>'
    """
    line = "".join(c if c.isprintable() else " " for c in text)
    return _MARKUP.sub(lambda found: "\\" + found[0], " ".join(line.split()))


def quoted(text: str) -> str:
    """Text as a double-quoted scalar of YAML 1.2: JSON's, with everything escaped that YAML would not print.

    >>> quoted('say "no"\\x85')
    '"say \\\\"no\\\\"\\\\u0085"'
    """
    inside = json.dumps(text, ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 2**16 else f"\\U{ord(c):08x}" for c in inside
    )


def _card(version: Version) -> Iterator[str]:
    yield from _front_matter(version)
    release, given = version.release, version.given
    kind = "pruned" if version.pruned else "dense"
    yield f"# {plain(version.model)} {release.number}\n"
    yield f"A {kind} model, whose release is {release.status.value}; entry {release.index} of the ledger proposed it."
    yield f"It passed {version.score} rules of its policy on the {given.split} split."
    yield from _waivers(version)
    yield from _gates(version)
    yield from _measurements(version)
    yield from _lineage(version)
    yield from _people(version)
    yield from _digests(version)


def _front_matter(version: Version) -> Iterator[str]:
    release = version.release
    task = TASKS.get(version.context.get("rows", ""))
    yield "---"
    yield "library_name: onnx"
    if task:
        yield f"pipeline_tag: {task}"
    if version.pruned:
        yield f"base_model: {quoted(f'{version.model}/twin-{words.hexadecimal(release.twin)[:12]}')}"
    yield f"tags: [pruneguard, {'pruned' if version.pruned else 'dense'}]"
    accuracy = version.evidence.get("quality.accuracy") if version.evidence else None
    if isinstance(accuracy, Estimate) and task and isfinite(accuracy.value):
        yield "model-index:"
        yield f"- name: {quoted(version.model)}"
        yield "  results:"
        yield f"  - task: {{type: {task}}}"
        yield f"    dataset: {{name: {quoted(version.model + ' data')}, type: {quoted(version.given.data)}}}"
        yield f"    metrics: [{{type: accuracy, value: {accuracy.value!r}}}]"
    yield "---\n"


def _waivers(version: Version) -> Iterator[str]:
    if not version.waivers:
        return
    yield "\n## Failed, waived\n"
    rows = (
        (w.rule, told(w, version.clock), w.reason, w.control, w.granted_by, w.granted_at, f"{w.before} to {w.after}")
        for w in version.waivers.values()
    )
    yield from _table(("rule", "standing", "reason", "instead", "by", "on", "score"), rows)


def _gates(version: Version) -> Iterator[str]:
    if version.findings:
        yield "\n## Gates\n"
        rows = ((f.rule, f.required, f.observed, version.outcome(f), f.flip) for f in version.findings)
        yield from _table(("rule", "required", "observed", "outcome", "what would turn it"), rows)


def _measurements(version: Version) -> Iterator[str]:
    if version.evidence is None:
        return
    whole, slices = [], []
    for name, m in sorted(version.evidence.measurements.items()):
        kind, _, part = name.partition(".slice.")
        if part and not isinstance(m, Estimate):
            right = (m.both_right + m.candidate_only, m.both_right + m.twin_only)
            slices.append(
                (kind, part, *(number(r / m.n) if m.n else "" for r in right), number(m.difference), str(m.n))
            )
        elif isinstance(m, Estimate):
            twin = version.evidence.get(name.replace(".", ".twin_", 1))
            theirs = number(twin.value) if isinstance(twin, Estimate) else ""
            interval = "" if m.low is None or m.high is None else f"{number(m.low)} to {number(m.high)}"
            whole.append((name, number(m.value), interval, theirs, str(m.n)))
        else:
            whole.append((f"{name}, minus the twin's", number(m.difference), "", "", str(m.n)))
    yield "\n## Measured\n"
    yield from _table(("measurement", "this version", "interval", "twin", "rows"), whole)
    if slices:
        yield "\n## By slice, share right\n"
        yield from _table(("measurement", "slice", "this version", "twin", "difference", "rows"), slices)


def _lineage(version: Version) -> Iterator[str]:
    if version.cut is not None:
        yield "\n## How it was cut\n"
        recipe = [(name, str(value)) for name, value in sorted(version.cut.data["recipe"].items())]
        yield from _table(("", ""), [*recipe, ("lineage", version.cut.refs["lineage"])])
        yield "\nCheck it: `pruneguard audit recompute-lineage DENSE.safetensors LINEAGE.json`"


def _people(version: Version) -> Iterator[str]:
    release = version.release
    yield "\n## Who answers for it\n"
    rows = [("proposed", release.author, release.proposed_at, "signed", "")]
    rows += [("approved", a.actor, a.time, a.assurance.value, a.reason) for a in release.approvals]
    yield from _table(("act", "by", "at", "assurance", "reason"), rows)


def _digests(version: Version) -> Iterator[str]:
    yield "\n## Digests\n"
    given, release = version.given, version.release
    rows = [("model", release.digest), ("twin", release.twin), ("data", given.data)]
    rows += [("policy", given.policy), ("verdict", given.digest), *(("evidence", d) for d in given.evidence)]
    yield from _table(("what", "digest"), rows)
    yield f"\nDocuments lie in `{bundle.DOCUMENTS}` of the bundle that this card came in."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(plain, row))} |"
