"""How values read on a page: words, symbols, units. Pure, and the only place that turns recorded text into Markdown."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from pruneguard.ledger.events import CATALOGUE, Event, utc
from pruneguard.ledger.state import State, Status
from pruneguard.verdict import Outcome

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")

# Symbol and colour of every status and outcome; the words stand beside them, so that neither is needed.
LOOKS: Mapping[str, tuple[str, str]] = {
    Status.PROPOSED: ("✎", "orange"),
    Status.APPROVED: ("✓", "blue"),
    Status.CANARY: ("◐", "violet"),
    Status.LIVE: ("●", "green"),
    Status.RETIRED: ("○", "gray"),
    Status.ROLLED_BACK: ("↩", "red"),
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✕", "red"),
    Outcome.UNDERPOWERED: ("?", "orange"),
    Outcome.NO_EVIDENCE: ("∅", "orange"),
    Outcome.WAIVED: ("§", "violet"),
}


CAUSES: Mapping[str, str] = {
    "waiver lapsed": "it rests on a waiver that does not hold any more",
    "artefact": "the pruned artefact is at fault: the twin is as sure as ever",
    "input": "the inputs moved: the twin has grown unsure too",
}


def plain(text: object) -> str:
    """Recorded text as Markdown that shows exactly that text: no link, image or markup in a name takes effect.

    >>> plain("![x](http://example.org)")
    '\\\\!\\\\[x\\\\]\\\\(http\\\\://example\\\\.org\\\\)'
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def badge(words: str, symbol: str, colour: str) -> str:
    """A coloured label in Markdown that also says what it means.

    >>> badge("live", "●", "green")
    ':green-badge[● live]'
    """
    return f":{colour}-badge[{symbol} {words}]"


def look(status: Status | Outcome) -> str:
    return badge(status.value, *LOOKS[status])


def short(digest: str) -> str:
    """The first twelve hexadecimal digits of a digest, as code: enough to tell artefacts of one model apart.

    >>> short("sha256:e3b0c44298fc1c149afbf4c8996fb924")
    '`e3b0c44298fc`'
    """
    return f"`{digest.partition(':')[2][:12] or '–'}`"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def clock(text: str) -> str:
    """A recorded time to the second, in UTC; it never breaks over two lines.

    >>> clock("2026-01-02T03:04:05.000000Z").replace("\\xa0", " ")
    '2026-01-02 03:04:05'
    """
    return f"{moment(text):%Y-%m-%d\xa0%H:%M:%S}" if text else "–"


def now(state: State) -> str:
    """The moment by which expiry is shown: this machine's, unless the log has seen a later one."""
    return max(state.clock, utc(datetime.now(UTC)))


def since(text: str) -> str:
    """A recorded time and, on the next line, how long ago that was."""
    return f"{clock(text)}  \n{age(text)}" if text else "–"


def age(text: str, now: datetime | None = None) -> str:
    """How long ago a recorded time was.

    >>> age("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 5, 5, 0, tzinfo=UTC))
    '2 h ago'
    """
    if not text:
        return "–"
    seconds = ((now or datetime.now(UTC)) - moment(text)).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def count(number: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u2009")


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent.

    >>> percent(0.98765), percent(None)
    ('98.8 %', '–')
    """
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def size(number: float) -> str:
    """Bytes in the unit that fits.

    >>> size(91_234)
    '91.2 kB'
    """
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number:.0f} B"


def facts(value: object) -> str:
    """A recorded mapping in one line.

    >>> facts({"steps": "prune channels", "ratio": "0.5"})
    'steps prune channels, ratio 0.5'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {facts(item)}" for name, item in value.items())
    return str(value)


def cause(name: str) -> str:
    """What the cause of an alarm means; one that is not known here is said as it was recorded."""
    return CAUSES.get(name, name)


def sentence(event: Event) -> str:
    """What an event says happened, in one line of plain text."""
    data = event.data
    if next(CATALOGUE[event.type].objections(event.refs, data), None) is not None:
        return "not in the form of its type; see the violations"
    about = f"version {data['number']}" if "number" in data else ""
    match event.type:
        case "release.proposed":
            return f"{about} proposed for release"
        case "release.approved":
            return f"{about} approved: {data['reason']}"
        case "traffic.shifted":
            return f"{about} takes {percent(float(data['share']), 0)} of the traffic"
        case "traffic.copied":
            copies = data.get("share")
            return (
                f"{about} answers copies of {percent(float(copies), 0)} of the requests"
                if copies
                else f"{about} answers no copies"
            )
        case "traffic.diverted":
            to = data.get("to")
            return f"{f'version {to}' if to else 'nothing'} answers, whatever is live: {data['reason']}"
        case "traffic.restored":
            return f"what is live answers again: {data['reason']}"
        case "release.held":
            return f"{about} is held where it stands: {data['reason']}"
        case "release.resumed":
            return f"{about} may go on: {data['reason']}"
        case "release.rolled_back":
            return f"{about} rolled back to version {data['to']}: {data['reason']}"
        case "alarm.raised":
            return f"{about}: {data['detector']}, because {cause(data['cause'])}"
        case "verdict.given":
            objections = (f"{rule}: {outcome}" for rule, outcome in data["objections"].items())
            return "passed every rule" if data["passed"] else f"rejected: {', '.join(objections)}"
        case "waiver.granted":
            score = f"{data['before']} rules pass, {data['after']} with it"
            return f"failed, waived: {data['rule']} until {data['expires']}, {score}: {data['reason']}"
        case "gates.self_tested":
            return f"the gates refused {data['refused']} of {data['of']} pieces of bad evidence"
        case "gates.drilled":
            clean = f"{data['clean_passed']} of {data['clean_of']} clean ones passed"
            return f"the gates refused {data['refused']} of {data['of']} artefacts made bad on purpose, {clean}"
        case "batch.sealed":
            return f"{count(data['rows'])} answered requests of {about} sealed"
        case "drift.reported":
            return f"{about}: drift in {data['drifted']} column(s)"
        case "key.registered":
            return f"{data['actor']} is {', '.join(data['roles'])}"
        case "key.rotated":
            return f"{data['actor']} has a new key"
        case "key.revoked":
            return f"the key of {data['actor']} counts no more: {data['reason']}"
        case "role.granted":
            return f"{data['actor']} is {', '.join(data['roles'])} too"
        case "role.revoked":
            return f"{data['actor']} is no longer {', '.join(data['roles'])}: {data['reason']}"
        case "document.attached":
            return f"{data['framework']} {data['control']}: {data['title']}"
        case "hold.placed":
            return f"{data['hold']}: nothing of {data['scope']} may go: {data['reason']}"
        case "hold.lifted":
            return f"{data['hold']} stands no more: {data['reason']}"
        case "retention.applied":
            return f"{data['class']} from before {data['before']} dropped: {data['reason']}"
        case "subject.described":
            return f"{count(len(data['commitments']))} value(s) of {data['person']} kept apart"
        case "subject.erased":
            return f"{count(len(data['commitments']))} value(s) erased, basis {data['basis']}"
        case "token.issued":
            models = "every model" if data["models"] == ["*"] else ", ".join(data["models"])
            return f"{data['token']} of {data['holder']}: {', '.join(data['acts'])} on {models} until {data['expires']}"
        case "token.revoked":
            return f"{data['token']} counts no more: {data['reason']}"
        case "access.denied":
            told = ", ".join(f"{reason} {count(times)}" for reason, times in data["reasons"].items())
            return f"{count(sum(data['reasons'].values()))} call(s) denied: {told}"
        case "policy.adopted":
            return f"policy {data['name']} version {data['version']}"
        case "run.started" | "run.finished":
            return f"run {data['run']}" + (f": {data['outcome']}" if "outcome" in data else "")
        case "model.pruned":
            return f"cut: {facts(data['recipe'])}"
        case "attempt.failed":
            return f"no network from {facts(data['recipe'])}: {data['reason']}"
        case "ledger.opened":
            return f"as {data['origin']}"
        case _:
            return about
