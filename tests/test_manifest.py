import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard import documents
from pruneguard.errors import InvalidInputError
from pruneguard.manifest import Manifest, Objective, load_manifest

GOOD = """\
model: digits
workload: workload.py:Digits
policy: policy.yaml
seed: 7
train_epochs: 30
finetune_epochs: 15
ratios: [0.25, 0.5, 0.75]
round_to: 8
objective: sparsity
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workload.py").write_text("class Digits: ...\n")
    (tmp_path / "policy.yaml").write_text("policy: mine\n")
    return tmp_path


def load(folder: Path, text: str | bytes) -> Manifest:
    path = folder / "manifest.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_manifest(path)


def refusal(folder: Path, text: str | bytes) -> str:
    """What the refusal says after the file's path."""
    with pytest.raises(InvalidInputError) as refused:
        load(folder, text)
    message = str(refused.value)
    assert message.startswith(str(folder / "manifest.yaml"))
    return message.removeprefix(str(folder / "manifest.yaml"))


def test_a_manifest_says_what_the_file_says(folder: Path) -> None:
    manifest = load(folder, GOOD)
    assert (manifest.model, manifest.workload_class, manifest.seed) == ("digits", "Digits", 7)
    assert (manifest.workload_file, manifest.policy_file) == (folder / "workload.py", folder / "policy.yaml")
    assert (manifest.train_epochs, manifest.finetune_epochs) == (30, 15)
    assert (manifest.ratios, manifest.round_to, manifest.objective) == ((0.25, 0.5, 0.75), 8, Objective.SPARSITY)


RECIPES = """\
recipes:
  narrow:
    - prune: channels
      criterion: taylor
  sparse-int8:
    - prune: weights
      budget: lamp
      ratio: 0.8
    - quantise: int8
"""


def test_a_manifest_names_recipes_and_where_it_names_none_channels_go(folder: Path) -> None:
    assert [recipe.words for recipe in load(folder, GOOD).recipes] == ["prune channels"]
    narrow, sparse = load(folder, GOOD + RECIPES).recipes
    assert (narrow.name, narrow.searched, narrow.steps[0].knobs["criterion"]) == ("narrow", True, "taylor")
    assert (sparse.words, sparse.searched) == ("prune weights, quantise int8", False)
    assert load(folder, GOOD + RECIPES).digest != load(folder, GOOD).digest


@pytest.mark.parametrize(
    ("line", "instead", "place"),
    [
        ("criterion: taylor", "criterion: taylr", r":12: recipes.narrow\[1\].prune: criterion: expected one of"),
        ("prune: channels", "prune: chanels", ":12: .*expected one of .*did you mean 'channels'"),
        ("budget: lamp", "budgets: lamp", ":15: .*takes no 'budgets'.*did you mean 'budget'"),
        ("ratio: 0.8", "ratio: 1", ":15: .*ratio: expected a share above 0 and below 1, found 1"),
        ("budget: lamp", "budget: '2:4'", ":15: .*the pattern 2:4 says how many weights go"),
        ("- quantise: int8", "- prune: channels", ":14: recipes.sparse-int8: .*channels cannot follow prune weights"),
        ("- quantise: int8", "- factor: layers", ":14: .*would fill the zeros"),
        ("narrow:", "Narrow:", ":11: recipes.Narrow: expected a name of lower-case"),
        ("- quantise: int8", "- int8", r":18: recipes.sparse-int8\[2\]: expected keys and values"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_its_line(folder: Path, line: str, instead: str, place: str) -> None:
    assert line in RECIPES
    assert re.match(place, refusal(folder, GOOD + RECIPES.replace(line, instead)), re.DOTALL)


def test_what_has_a_default_may_be_left_out(folder: Path) -> None:
    short = "".join(line for line in GOOD.splitlines(True) if not line.startswith(("seed", "round_to", "objective")))
    manifest = load(folder, short)
    assert (manifest.seed, manifest.round_to, manifest.objective) == (0, 8, Objective.SPARSITY)


def test_a_shipped_policy_is_named_without_a_file(folder: Path) -> None:
    manifest = load(folder, GOOD.replace("policy.yaml", "standard"))
    assert (manifest.policy, manifest.policy_file) == ("standard", None)


def test_the_digest_names_values_workload_and_policy_and_not_the_place(folder: Path) -> None:
    manifest = load(folder, GOOD)
    first = manifest.digest
    moved = folder / "moved"
    moved.mkdir()
    for name in ("workload.py", "policy.yaml"):
        (moved / name).write_bytes((folder / name).read_bytes())
    assert load(moved, "# a comment\n" + GOOD).digest == first
    changed = {load(folder, GOOD.replace("seed: 7", "seed: 8")).digest, first}
    (folder / "workload.py").write_text("# changed\n")
    changed.add(load(folder, GOOD).digest)
    changed |= {replace(manifest, policy_digest=name).digest for name in ("sha256:one", "sha256:another")}
    assert len(changed) == 5


@pytest.mark.parametrize(
    ("line", "instead", "place"),
    [
        ("model: digits", "model: Digits", ":1: model: expected lower-case"),
        ("model: digits", "model: 7", ":1: model: expected a text, found 7"),
        ("model: digits", "model: ''", ":1: model: expected a text, found a blank one"),
        ("model: digits", "model: e\u0301", ":1: model: the text is not in Unicode NFC"),
        ("workload: workload.py:Digits", "workload: gone.py:Digits", ":2: workload: no such file: "),
        ("workload: workload.py:Digits", "workload: workload.py", ":2: workload: expected `file.py:Class`"),
        ("policy: policy.yaml", "policy: gone.yaml", ":3: policy: no such file: "),
        ("seed: 7", "seed: -1", ":4: seed: expected a whole number from 0"),
        ("seed: 7", "seed: 7.0", ":4: seed: expected a whole number from 0"),
        ("seed: 7", "seed: true", ":4: seed: expected a whole number from 0"),
        ("seed: 7", "seed: 99999999999999999999", ":4: seed: expected a whole number from 0"),
        ("seed: 7", "seeds: 7", ":4: seeds: unknown key; did you mean 'seed'?"),
        ("train_epochs: 30", "train_epoch: 30", ":1: train_epochs: missing; .*is 'train_epoch' on line 5 meant?"),
        ("train_epochs: 30", "train_epochs: 0", ":5: train_epochs: expected a whole number from 1"),
        ("finetune_epochs: 15", "finetune_epochs: [15]", ":6: finetune_epochs: expected .*, found a list of 1"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: []", ":7: ratios: expected a list of numbers with at least one"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: 0.5", ":7: ratios: expected a list of numbers"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: [0.5, 1]", ":7: ratios: expected shares above 0 and below 1, found 1"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: [0.5, .nan]", ":7: ratios: expected shares above 0 and below 1"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: [0.5, half]", ":7: ratios: expected shares .*, found 'half'"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: [0.5, 0.5]", ":7: ratios: expected them to increase"),
        ("ratios: [0.25, 0.5, 0.75]", "ratios: [{a: 1}]", ":7: ratios: expected shares .*, found keys and values"),
        ("round_to: 8", "round_to: 0", ":8: round_to: expected a whole number from 1"),
        (
            "objective: sparsity",
            "objective: speed",
            r":9: objective: expected one of \['sparsity', 'latency', 'size'\], found 'speed'",
        ),
        ("objective: sparsity", "model: again", ":9: model: stands on line 1 already"),
        ("objective: sparsity", "<<: {seed: 1}", ":9: <<: unknown key"),
        ("objective: sparsity", "objective: [", ":10: not YAML.*the line or the one above"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_field(folder: Path, line: str, instead: str, place: str) -> None:
    assert line in GOOD
    assert re.match(place, refusal(folder, GOOD.replace(line, instead)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", ": empty"),
        (b"# nothing but a comment\n", ": empty"),
        (b"just words", ":1: the document: expected keys and values, found 'just words'"),
        (b"- a\n- b\n", ":1: the document: expected keys and values, found a list of 2"),
        (b"model: digits\npolicy: \xff\n", ":2: not UTF-8"),
        (b"a: 1\n---\nb: 2\n", ":2: not YAML"),
        (b"a: \x00\n", ": not YAML"),
        (b"[" * 20_000, ": nested too deeply"),
        (b"a: " + b"x" * 1_000_000, ": 1000003 bytes"),
    ],
)
def test_a_file_that_is_no_document_is_refused_by_name(folder: Path, content: bytes, why: str) -> None:
    assert refusal(folder, content).startswith(why)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"gone\.yaml: cannot be read: No such file"):
        load_manifest(tmp_path / "gone.yaml")


def test_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        load_manifest(tmp_path)


def test_a_tag_constructs_nothing(folder: Path) -> None:
    text = GOOD.replace("model: digits", "model: !!python/object/apply:os.system [touch gone]")
    assert "expected a text, found a list" in refusal(folder, text)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        documents.parse(content, Path("any.yaml")).rest()


ABOUT = (
    GOOD
    + """\
about:
  intended_use: To show how.
  owner: the demo's team
  next_review: 2027-06-30
"""
)


def test_what_monitors_may_write_of_a_row_is_part_of_what_a_run_signs(folder: Path) -> None:
    silent = load(folder, GOOD)
    asked = load(folder, f"{GOOD}observations:\n  inputs: values\n  personal: [7, 0, 7]\n")
    assert silent.to_document()["observations"] == {"inputs": "digests", "personal": []}
    assert asked.to_document()["observations"] == {"inputs": "values", "personal": [0, 7]}
    assert asked.digest != silent.digest


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("  inputs: all", "observations.inputs: expected"),
        ("  personal: []", "observations.personal: expected a list"),
        ("  personal: [-1]", "observations.personal: expected numbers of features, from 0"),
        ("  personal: [0.5]", "observations.personal: expected numbers of features, from 0"),
        ("  personal: [age]", "observations.personal: expected numbers of features, from 0"),
        ("  persnal: [1]", "observations.persnal"),
    ],
)
def test_a_mistake_in_what_may_be_written_is_named_with_its_line(folder: Path, line: str, why: str) -> None:
    assert refusal(folder, f"{GOOD}observations:\n{line}\n").startswith(f":11: {why}")


def test_what_people_say_about_a_model_is_part_of_what_a_run_signs(folder: Path) -> None:
    manifest, silent = load(folder, ABOUT), load(folder, GOOD)
    said = {"intended_use": "To show how.", "owner": "the demo's team", "next_review": "2027-06-30"}
    assert manifest.to_document()["about"] == said
    assert silent.to_document()["about"] == {}
    assert manifest.digest != silent.digest


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("  next_review: soon", "about.next_review: expected a day, YYYY-MM-DD, found 'soon'"),
        ("  next_review: 2027-02-30", "about.next_review: expected a day"),
        ("  intended_uses: x", "about.intended_uses: unknown key; did you mean 'intended_use'?"),
        ("  owner: 7", "about.owner: expected a text"),
    ],
)
def test_a_mistake_in_what_people_say_is_named_with_its_line(folder: Path, line: str, why: str) -> None:
    assert refusal(folder, f"{GOOD}about:\n{line}\n").startswith(f":11: {why}")
