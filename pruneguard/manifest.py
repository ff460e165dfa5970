"""What a run is asked to do: a model's workload, its policy, and the budget of the search, out of one YAML file."""

import re
from dataclasses import asdict, dataclass, fields
from datetime import date
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from pruneguard import canonical, documents
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import recipe
from pruneguard.pruning.recipe import Recipe
from pruneguard.search import EVALUATIONS_MAX, LEVELS

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?")  # a run's name, which has a number behind it, fits the ledger
_WORKLOAD = re.compile(r"([^:]+\.py):([A-Za-z_][A-Za-z0-9_]*)")


RECIPES_MAX = 20


class Objective(StrEnum):
    """What the search makes as small as the policy lets it."""

    SPARSITY = "sparsity"  # weights that are left and not zero
    LATENCY = "latency"  # the time of one answer
    SIZE = "size"  # the bytes that are stored

    @property
    def measurements(self) -> tuple[str, ...]:
        """What it is called in the evidence, a ratio to the twin's; the first that was measured counts."""
        return {
            Objective.SPARSITY: ("efficiency.nonzero_ratio",),
            Objective.LATENCY: ("efficiency.latency_ratio",),
            Objective.SIZE: ("efficiency.stored_ratio", "efficiency.size_ratio"),
        }[self]


@dataclass(frozen=True, slots=True)
class About:
    """What only people know about a model, in their words; empty where nobody said. The run's author signs it.

    Nothing is checked against it and no gate reads it: it is the human half of what an auditor asks. `owner` is a team
    and not a person, whose name would stay in the record. `next_review` is a day, YYYY-MM-DD.
    """

    intended_use: str = ""
    out_of_scope: str = ""
    risk_tier: str = ""
    owner: str = ""
    data_source: str = ""
    licence: str = ""
    personal_data: str = ""
    next_review: str = ""


class Inputs(StrEnum):
    """What is written of the inputs that a released version answers."""

    DIGESTS = "digests"  # keyed digests, and the features by which drift shows
    VALUES = "values"  # also every row as it came


@dataclass(frozen=True, slots=True)
class Observed:
    """What monitors may write of a row. `personal` are numbers of features, from 0 over a row laid flat, of which
    neither value nor statistic is ever written.
    """

    inputs: Inputs = Inputs.DIGESTS
    personal: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest(canonical.Document):
    """A run as asked for.

    `policy` is what the file says: a shipped policy's name, or a path, and then `policy_file` is where it lies.
    `policy_digest` names what was read there, with all that it extends: "" until a run begins under it.
    `ratios` are the shares that the search may let a recipe take away, from mild to bold. `evaluations_max` bounds how
    many candidates are measured to the end. `round_to` is the multiple that widths are kept at.
    """

    path: Path
    model: str
    workload_file: Path
    workload_class: str
    workload_digest: str
    policy: str
    policy_file: Path | None
    seed: int
    train_epochs: int
    finetune_epochs: int
    recipes: tuple[Recipe, ...]
    ratios: tuple[float, ...]
    evaluations_max: int
    round_to: int
    objective: Objective
    about: About = About()
    observed: Observed = Observed()
    policy_digest: str = ""

    def to_document(self) -> dict[str, Any]:
        """What the run depends on. Where the files lie is no part of it, what was read in them is."""
        return {
            "kind": "manifest/v1",
            "model": self.model,
            "workload": {"file": self.workload_digest, "class": self.workload_class},
            "policy": self.policy_digest or self.policy,
            "seed": self.seed,
            "train_epochs": self.train_epochs,
            "finetune_epochs": self.finetune_epochs,
            "recipes": {recipe.name: recipe.to_document() for recipe in self.recipes},
            "ratios": list(self.ratios),
            "evaluations_max": self.evaluations_max,
            "round_to": self.round_to,
            "objective": self.objective.value,
            "about": {name: text for name, text in asdict(self.about).items() if text},
            "observations": {"inputs": self.observed.inputs.value, "personal": list(self.observed.personal)},
        }


def load_manifest(path: Path) -> Manifest:
    """The manifest in a YAML file; paths in it are relative to the file.

    Raises InvalidInputError that names file, line and field for anything missing, unknown, misspelt or impossible.
    """
    section = documents.read(path)
    workload_file, workload_class = _workload(section, path.parent)
    policy = section.text("policy")
    policy_file = _policy_file(section, policy, path.parent)
    manifest = Manifest(
        path=path,
        model=_model(section),
        workload_file=workload_file,
        workload_class=workload_class,
        workload_digest=canonical.digest(documents.read_bytes(workload_file)),
        policy=policy,
        policy_file=policy_file,
        seed=section.integer("seed", 0, 2**32 - 1, default=0),
        train_epochs=section.integer("train_epochs", 1, 10_000),
        finetune_epochs=section.integer("finetune_epochs", 1, 10_000),
        recipes=_recipes(section.section("recipes")),
        ratios=_ratios(section) if section.has("ratios") else LEVELS,
        evaluations_max=section.integer("evaluations_max", 1, 100, default=EVALUATIONS_MAX),
        round_to=section.integer("round_to", 1, 256, default=8),
        objective=section.choice("objective", Objective, default=Objective.SPARSITY),
        about=_about(section.section("about")),
        observed=_observed(section.section("observations")),
    )
    section.done()
    return manifest


def _model(section: documents.Section) -> str:
    name = section.text("model")
    if not _NAME.fullmatch(name):
        section.refuse(
            "model", f"expected lower-case letters, digits and dashes (56 at most), found {name!r}; rename it"
        )
    return name


def _workload(section: documents.Section, directory: Path) -> tuple[Path, str]:
    text = section.text("workload")
    match = _WORKLOAD.fullmatch(text)
    if match is None:
        section.refuse("workload", f"expected `file.py:Class`, found {text!r}; name the class after a colon")
    file = directory / match[1]
    if not file.is_file():
        section.refuse("workload", f"no such file: {file}; write it, or give its path relative to the manifest")
    return file, match[2]


def _policy_file(section: documents.Section, policy: str, directory: Path) -> Path | None:
    if not documents.is_path(policy):
        return None
    file = directory / policy
    if not file.is_file():
        section.refuse("policy", f"no such file: {file}; give its path relative to the manifest, or a shipped name")
    return file


def _recipes(section: documents.Section | None) -> tuple[Recipe, ...]:
    """The recipes by their names; where there are none, channels go."""
    if section is None:
        return (recipe.recipe("channels", [recipe.step({"prune": "channels"})]),)
    found = []
    for name in section.keys():  # noqa: SIM118  # a section is no mapping
        if not _NAME.fullmatch(name):
            section.refuse(name, "expected a name of lower-case letters, digits and dashes (56 at most); rename it")
        steps = [_step(step) for step in section.sections(name)]
        try:
            found.append(recipe.recipe(name, steps))
        except InvalidInputError as error:
            section.refuse(name, str(error))
    if not 1 <= len(found) <= RECIPES_MAX:
        names = section.keys()
        section.refuse(names[-1] if names else "", f"expected 1 to {RECIPES_MAX} recipes, found {len(found)}")
    return tuple(found)


def _step(section: documents.Section) -> recipe.Step:
    given = section.rest()
    try:
        return recipe.step(given)
    except InvalidInputError as error:
        section.refuse(next(iter(given), ""), str(error))


def _about(section: documents.Section | None) -> About:
    if section is None:
        return About()
    given = {field.name: section.text(field.name, default="") for field in fields(About)}
    section.done()
    if given["next_review"] and not _is_day(given["next_review"]):
        section.refuse("next_review", f"expected a day, YYYY-MM-DD, found {given['next_review']!r}; change it")
    return About(**given)


def _observed(section: documents.Section | None) -> Observed:
    if section is None:
        return Observed()
    wanted = "numbers of features, from 0"
    personal = section.numbers("personal", lambda n: n >= 0 and n == int(n), wanted) if section.has("personal") else ()
    inputs = section.choice("inputs", Inputs, default=Inputs.DIGESTS)
    observed = Observed(inputs, tuple(sorted({int(number) for number in personal})))
    section.done()
    return observed


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _ratios(section: documents.Section) -> tuple[float, ...]:
    ratios = section.numbers("ratios", lambda ratio: 0 < ratio < 1, "shares above 0 and below 1")
    if any(after <= before for before, after in pairwise(ratios)):
        section.refuse("ratios", f"expected them to increase, found {list(ratios)}; sort them and drop what is doubled")
    return ratios
