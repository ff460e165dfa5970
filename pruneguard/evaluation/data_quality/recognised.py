"""Numbers that states and banks give to people, by a recogniser that others keep: Microsoft's Presidio, as an extra.

`pip install pruneguard[personal]` brings it. Its pattern recognisers are asked alone: no language model, nothing that
is downloaded, nothing that asks the network; names of people in free text stay unseen. An answer counts where the check
digits are right. A recogniser whose check is one digit of a plain number calls every tenth order number a person, so
those are taken that take at most one in a hundred random numbers of 6 to 16 digits, dates, decimals or codes for one
(measured with 2.2.366).
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGE = "presidio-analyzer"

RECOGNISERS = (
    "CryptoRecognizer",
    "DeHealthInsuranceRecognizer",
    "DeIdCardRecognizer",
    "DePassportRecognizer",
    "DeSocialSecurityRecognizer",
    "EsNieRecognizer",
    "EsNifRecognizer",
    "FiPersonalIdentityCodeRecognizer",
    "ItFiscalCodeRecognizer",
    "KrFrnRecognizer",
    "KrRrnRecognizer",
    "TrNationalIdRecognizer",
    "UkDrivingLicenceRecognizer",
    "ZaIdNumberRecognizer",
)

_CERTAIN = 1.0
"""The score of what passed a check, and not a pattern alone."""

_DIGITS_MIN = 4
"""All of these have as many; texts with fewer are not looked at, which most words are."""


def installed() -> str | None:
    """The recogniser's version; None where it is not here."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def kinds(text: str) -> Iterator[str]:
    """What the recognisers are certain of in a text, each kind once; nothing where they are not installed."""
    if sum(map(str.isdigit, text)) < _DIGITS_MIN:
        return
    for recogniser in _recognisers():
        found = recogniser.analyze(text, recogniser.supported_entities, None) or ()
        if any(each.score >= _CERTAIN for each in found):
            yield _words(recogniser.supported_entities[0])


@cache
def _recognisers() -> tuple[Any, ...]:
    if installed() is None:
        return ()
    predefined = import_module("presidio_analyzer.predefined_recognizers")
    return tuple(getattr(predefined, name)() for name in RECOGNISERS)


def _words(entity: str) -> str:
    """As people say it.

    >>> _words("DE_ID_CARD"), _words("CRYPTO")
    ('DE id card', 'crypto')
    """
    country, _, rest = entity.partition("_")
    return f"{country} {rest.replace('_', ' ').lower()}" if rest else country.lower()
