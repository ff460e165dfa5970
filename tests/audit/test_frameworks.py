import json
from typing import Any

import pytest

from pruneguard.audit.frameworks import Framework, Need
from pruneguard.errors import InvalidInputError


def document(**changes: Any) -> bytes:
    control = {
        "id": "C 1",
        "group": "C",
        "class": "A",
        "text": "Do.",
        "wanted": "a verdict",
        "needs": ["verdict.given"],
    }
    whole = {
        "kind": "framework/v1",
        "name": "mine",
        "title": "Mine",
        "source": "me",
        "url": "https://example.org",
        "note": "No score.",
        "dates": [],
        "groups": [{"id": "C", "text": "All"}],
        "controls": [control | changes.pop("control", {})],
    }
    return json.dumps(whole | changes).encode()


def test_a_framework_says_what_its_file_says() -> None:
    framework = Framework.decode(document(control={"days": 30, "counter": ["waiver-lapsed"]}))
    control = framework.control("c 1")
    assert (control.days, control.counter, control.needs) == (30, ("waiver-lapsed",), (Need(("verdict.given",)),))
    assert framework.function(control).id == "C"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "policy/v1"}, "expected 'framework/v1'"),
        ({"title": 3}, "title is 3"),
        ({"groups": []}, "are in no group"),
        ({"groups": [{"id": "C", "text": "All", "parent": "C"}]}, "stands before its parent"),
        ({"groups": [{"id": "C", "text": "All"}] * 2}, "have one id"),
        ({"control": {"class": "X"}}, "malformed"),
        ({"control": {"days": True}}, "expected a whole number"),
        ({"control": {"counter": ["bad weather"]}}, "unknown counter-evidence"),
        ({"control": {"needs": [{"event": "verdict.given", "hass": "x"}]}}, "hass"),
        ({"control": {"needs": [7]}}, "malformed"),
        ({"control": {"colour": "red"}}, "malformed"),
        ({"controls": "many"}, "malformed"),
    ],
)
def test_a_file_that_is_no_framework_is_refused_with_the_reason(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        Framework.decode(document(**changes))


def test_a_control_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidInputError, match="its controls are C 1"):
        Framework.decode(document()).control("D 9")
