"""The description of data: what the evidence on its admission says, and nothing else."""

import json

from pruneguard.audit.selection import Selection
from pruneguard.audit.views import croissant


def test_it_says_what_was_measured_and_what_was_not_recorded(selection: Selection) -> None:
    ((path, content),) = croissant.cards(selection).items()
    found = json.loads(content)
    assert found["identifier"] == "sha256:" + path.split("/")[1]
    assert found["datePublished"] == "2026-01-05"
    assert {m["name"]: m["value"] for m in found["variableMeasured"]} == {"data.leakage": "0", "data.missing": "0"}
    assert any("data.leakage" in text for text in found["rai:dataLimitations"])
    assert found["rai:personalSensitiveInformation"] == ["Not assessed."]
    assert not {"license", "creator", "distribution"} & found.keys()
