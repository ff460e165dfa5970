"""`pruneguard methods`: the catalogue as people and programs read it."""

import json

import pytest

from pruneguard.cli import main
from pruneguard.pruning.recipe import METHODS, step


def test_every_method_is_listed_with_its_paper_and_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for method in METHODS:
        assert f"- {method.verb}: {method.what}" in printed
        assert method.paper in printed
        for knob in method.knobs:
            assert f"{knob.name} ({knob.default}): {knob.doc}" in printed


def test_a_name_narrows_the_list_and_one_that_fits_nothing_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "heads"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "- prune: heads"
    assert main(["methods", "hats"]) == 1
    assert "no method has 'hats'" in capsys.readouterr().out


def test_every_method_of_the_json_is_a_step_with_the_defaults_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == len(METHODS)
    for told in listed:
        verb = next(iter(told))
        defaults = {name: knob["default"] for name, knob in told["knobs"].items()}
        # What has no default has to be said: the name of a model.
        required = {name: "digits" for name, default in defaults.items() if default == ""}
        made = step({verb: told[verb], **required}).to_document()
        assert made.items() <= ({verb: told[verb]} | defaults | required).items()
