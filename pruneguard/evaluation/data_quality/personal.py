"""Personal data that nobody meant to bring: what looks like it among texts, and columns that are named for it.

What a pattern can see: e-mail and IP addresses, telephone numbers written for people, IBANs (ISO 13616) and payment
cards (ISO/IEC 7812) whose check digits are right, US social security numbers. Names of people, addresses and free
descriptions are seen only by the names of their columns. Where the extra `personal` is installed, numbers that states
give to people are seen too (`recognised`). Counts are reported, never a value.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pruneguard.evaluation.data_quality import recognised
from pruneguard.evaluation.estimates import exact
from pruneguard.evidence import Measurement
from pruneguard.workload import Snapshot

LENGTH_MAX = 10_000
"""Characters of a text that are looked at."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What is measured; `found` counts cells by column and kind of data, `named` lists columns by their names alone.

    `method` says who looked.
    """

    measurements: dict[str, Measurement]
    found: Mapping[str, Mapping[str, int]]
    named: tuple[str, ...]
    method: str


def measure(snapshot: Snapshot, columns: Iterable[str] = ()) -> Personal:
    """`data.personal_values` and `data.personal_columns` over the slice columns of all splits.

    `columns` are further names, of a data card, say: they are judged by name, as there are no texts to look at.
    """
    found: dict[str, dict[str, int]] = {}
    names = dict.fromkeys(columns)
    cells = 0
    for split in snapshot.splits.values():
        for column, values in sorted(split.slices.items()):
            names[column] = None
            cells += len(values)
            for text, count in zip(*np.unique(np.asarray(values, dtype=np.str_), return_counts=True), strict=True):
                for kind in kinds(str(text)):
                    counts = found.setdefault(column, {})
                    counts[kind] = counts.get(kind, 0) + int(count)
    named = tuple(sorted(name for name in names if suspicious(name)))
    measurements: dict[str, Measurement] = {
        "data.personal_values": exact(sum(sum(counts.values()) for counts in found.values()), n=cells),
        "data.personal_columns": exact(len({*found, *named}), n=len(names)),
    }
    return Personal(measurements, found, named, method())


def method() -> str:
    """Who looks for personal data here, for the evidence: the same rows can tell more elsewhere."""
    also = recognised.installed()
    if also is None:
        return f"patterns and column names; {recognised.PACKAGE} is not installed"
    return f"patterns, column names and {recognised.PACKAGE} {also}"


def kinds(text: str) -> Iterator[str]:
    """What personal data a text seems to hold, each kind once.

    >>> list(kinds("write to ada@example.org or call +49 711 1234567")), list(kinds("2026-11-21, 12:30:45, 3.14"))
    (['e-mail address', 'telephone number'], [])
    """
    seen = text[:LENGTH_MAX]
    for kind, (pattern, holds) in _KINDS.items():
        if any(holds(match[0]) for match in pattern.finditer(seen)):
            yield kind
    yield from recognised.kinds(seen)


def suspicious(name: str) -> bool:
    """Whether a column's name is one for personal data.

    >>> [suspicious(name) for name in ("customerEmail", "date_of_birth", "file_name", "emailed_share", "phone")]
    [True, True, False, False, True]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    joined = f" {' '.join(words)} "
    return words == ["name"] or any(f" {each} " in joined for each in _NAMES)


def luhn(text: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> luhn("4539 1488 0343 6467"), luhn("4539 1488 0343 6468")
    (True, False)
    """
    digits = [int(each) for each in text if each.isdigit()][::-1]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(text: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 7064, mod 97-10).

    >>> iban("DE89 3704 0044 0532 0130 00"), iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    compact = text.replace(" ", "").upper()
    return 15 <= len(compact) <= 34 and int("".join(str(int(each, 36)) for each in compact[4:] + compact[:4])) % 97 == 1


def _card(text: str) -> bool:
    return len(set(text) - {" ", "-"}) > 1 and luhn(text)


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return sum(each in "0123456789abcdefABCDEF" for each in text) > 3  # "::" and "1::" are punctuation


def _phone(text: str) -> bool:
    return 8 <= sum(each.isdigit() for each in text) <= 15


def _always(text: str) -> bool:
    return bool(text)


_KINDS: Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "e-mail address": (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _always),
    "telephone number": (
        re.compile(
            r"(?<![\w.])(?:\+|00)[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,5}\)?){2,6}(?!\w)"  # +49 711 1234567
            r"|(?<![\w.-])\(?[2-9]\d{2}\)?[ .-][2-9]\d{2}[ .-]\d{4}(?![\w-])"  # (212) 555-0123
            r"|(?<![\w.-])0\d{2,4} ?[/-] ?\d{5,8}(?![\w-])"  # 0711/1234567
        ),
        _phone,
    ),
    "IBAN": (re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{2,4}){3,8}(?!\w)"), iban),
    "payment card": (re.compile(r"(?<![\w.])[2-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\w.]\d|\w)"), _card),
    "IP address": (
        re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)"),
        _ip,
    ),
    "social security number": (re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"), _always),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PEOPLE = ("first", "last", "full", "given", "family", "middle", "maiden", "user", "customer", "patient", "person",
           "employee", "client", "sur", "fore")  # fmt: skip
_NAMES = (
    *(f"{each} name" for each in _PEOPLE), "surname", "firstname", "lastname", "fullname", "username", "forename",
    "email", "e mail", "mail address", "phone", "telephone", "telefon", "mobile number", "fax", "ssn",
    "social security", "iban", "account number", "credit card", "card number", "passport", "driving licence",
    "drivers license", "tax id",
    "date of birth", "dob", "birthday", "birth date", "birthdate", "geburtsdatum", "street", "home address",
    "postal address", "ip address", "ip", "mac address", "medical record", "national id", "geolocation",
)  # fmt: skip
