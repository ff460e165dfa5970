"""Whom to believe about a log: its key, its witnesses, and how many of them it takes. Format: C2SP tlog-policy.

https://github.com/C2SP/C2SP/blob/main/tlog-policy.md. Who runs a log or a witness, the format leaves open. Here a
comment on the line directly above says it, and tools that do not know the convention read past it:

    # domain: acme.example
    log acme.example/log+3f2a51c0+AT...
    # domain: city-audit.example
    witness city city-audit.example/w1+9d21ee07+BM... https://witness.city-audit.example
    quorum city
"""

import re
import unicodedata
from collections.abc import Set
from dataclasses import dataclass

from pruneguard.errors import InvalidInputError
from pruneguard.ledger.notes import COSIGNATURES, ED25519, MLDSA44_COSIGNATURE, Verifier

NONE = "none"
"""The quorum that asks for no witness."""

BYTES_MAX = 1_000_000

_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_DOMAIN = re.compile(r"[ \t]*#[ \t]*domain:(.*)")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is believed. `domain` says who runs it; empty where the policy does not."""

    verifier: Verifier
    url: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness that is believed, by the name that groups and quorum call it. `domain` as for a log."""

    name: str
    verifier: Verifier
    url: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Has witnessed what `threshold` of its members have; a member is a witness or another group."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Logs, witnesses, groups in the order of the file, and the name of what must have witnessed a checkpoint."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    @classmethod
    def parse(cls, content: bytes) -> "TrustPolicy":
        """Raises InvalidInputError with the line at fault."""
        if len(content) > BYTES_MAX:
            raise InvalidInputError(f"a trust policy of {len(content)} bytes; at most {BYTES_MAX} are read")
        reading = _Reading()
        # Names are octets in this format: what is no UTF-8 stays what it was, and two that differ are never equal.
        lines = content.decode("utf-8", "surrogateescape").split("\n")
        if lines.pop():
            raise InvalidInputError(f"line {len(lines) + 1} of the trust policy does not end in a newline")
        for number, line in enumerate(lines, 1):
            try:
                reading.take(line)
            except InvalidInputError as error:
                raise InvalidInputError(f"line {number} of the trust policy: {error}") from error
        if reading.quorum is None:
            raise InvalidInputError(f"the trust policy has no quorum line; expected one, `quorum {NONE}` at least")
        return cls(tuple(reading.logs), tuple(reading.witnesses), tuple(reading.groups), reading.quorum)

    def log(self, verifier: Verifier) -> Log | None:
        """The line about this log's key, if there is one."""
        return next((log for log in self.logs if log.verifier == verifier), None)

    def satisfied(self, cosigned: Set[str]) -> bool:
        """Whether the witnesses of these names together make the quorum."""
        met = {NONE, *cosigned}
        for group in self.groups:  # in order: a group names only what stands before it
            if len(met & set(group.members)) >= group.threshold:
                met.add(group.name)
        return self.quorum in met


class _Reading:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self._names = {NONE}
        self._members: set[str] = set()
        self._domain = ""

    def take(self, line: str) -> None:
        if wrong := _FORBIDDEN.search(line):
            raise InvalidInputError(f"it holds the character {wrong[0]!r}; only tab and printable ones may stand there")
        domain, self._domain = self._domain, ""
        if told := _DOMAIN.fullmatch(line):
            self._domain = _domain(told[1])
            return
        match [item for item in re.split(r"[ \t]+", line) if item]:
            case []:
                return
            case [first, *_] if first.startswith("#"):
                return
            case ["log", vkey, *url] if len(url) < 2:
                self._log(_verifier(vkey, ED25519, MLDSA44_COSIGNATURE), "".join(url), domain)
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._witness(name, _verifier(vkey, *COSIGNATURES), "".join(url), domain)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                self._quorum(name)
            case [keyword, *rest]:
                raise InvalidInputError(
                    f"{keyword[:80]!r} with {len(rest)} items; expected `log VKEY [URL]`, `witness NAME VKEY [URL]`, "
                    "`group NAME all|any|K NAME...` or `quorum NAME`"
                )

    def _log(self, verifier: Verifier, url: str, domain: str) -> None:
        if any(log.verifier.public_key == verifier.public_key for log in self.logs):
            raise InvalidInputError(f"the key of {verifier.name!r} is that of a log above; each stands once")
        self.logs.append(Log(verifier, url, domain))

    def _witness(self, name: str, verifier: Verifier, url: str, domain: str) -> None:
        if any(witness.verifier.public_key == verifier.public_key for witness in self.witnesses):
            raise InvalidInputError(f"the key of {name!r} is that of a witness above; each stands once")
        self._define(name)
        self.witnesses.append(Witness(name, verifier, url, domain))

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            self._require(member)
            if member == NONE or member in self._members:
                raise InvalidInputError(f"{member!r} cannot be a member here: a name is in one group, once")
            self._members.add(member)
        known = {"any": 1, "all": len(members)}
        if threshold not in known and not _THRESHOLD.fullmatch(threshold):
            raise InvalidInputError(f"a group's threshold is {threshold[:80]!r}; expected all, any or a number")
        if (needed := known.get(threshold) or int(threshold)) > len(members):
            raise InvalidInputError(f"group {name!r} asks for {needed} of {len(members)} members")
        self._define(name)
        self.groups.append(Group(name, needed, tuple(members)))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise InvalidInputError("a second quorum line; a policy has one")
        self._require(name)
        self.quorum = name

    def _define(self, name: str) -> None:
        if name in self._names:
            raise InvalidInputError(f"the name {name!r} is taken; witnesses and groups share one set of names")
        self._names.add(name)

    def _require(self, name: str) -> None:
        if name not in self._names:
            raise InvalidInputError(f"no witness or group {name!r} above this line")


def _verifier(vkey: str, *kinds: int) -> Verifier:
    verifier = Verifier.parse(_utf8(vkey))
    if verifier.kind not in kinds:
        raise InvalidInputError(f"the key of {verifier.name!r} is of type {verifier.kind}; expected one of {kinds}")
    return verifier


def _domain(text: str) -> str:
    """A domain's name in the one form in which two spellings of it are equal."""
    if not (name := " ".join(unicodedata.normalize("NFKC", _utf8(text)).casefold().split())):
        raise InvalidInputError("`# domain:` without a name; say who runs what the next line names")
    return name


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{text[:80]!r} is not UTF-8") from error
    return text
