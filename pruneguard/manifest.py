"""What a run is asked to do: a model's workload, its policy, and the budget of the search, out of one YAML file."""

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from pruneguard import canonical, documents

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_WORKLOAD = re.compile(r"([^:]+\.py):([A-Za-z_][A-Za-z0-9_]*)")


class Objective(StrEnum):
    """What the search makes as good as the policy lets it."""

    SPARSITY = "sparsity"


@dataclass(frozen=True, slots=True)
class Manifest(canonical.Document):
    """A run as asked for.

    `policy` is what the file says: a shipped policy's name, or a path, and then `policy_file` is where it lies.
    `ratios` are the shares of channels that the search may cut, from mild to bold.
    """

    path: Path
    model: str
    workload_file: Path
    workload_class: str
    workload_digest: str
    policy: str
    policy_file: Path | None
    policy_digest: str | None
    seed: int
    train_epochs: int
    finetune_epochs: int
    ratios: tuple[float, ...]
    round_to: int
    objective: Objective

    def to_document(self) -> dict[str, Any]:
        """What the run depends on. Where the files lie is no part of it, what they held when it was loaded is."""
        return {
            "kind": "manifest/v1",
            "model": self.model,
            "workload": {"file": self.workload_digest, "class": self.workload_class},
            "policy": self.policy_digest or self.policy,
            "seed": self.seed,
            "train_epochs": self.train_epochs,
            "finetune_epochs": self.finetune_epochs,
            "ratios": list(self.ratios),
            "round_to": self.round_to,
            "objective": self.objective.value,
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
        policy_digest=canonical.digest(documents.read_bytes(policy_file)) if policy_file else None,
        seed=section.integer("seed", 0, 2**32 - 1, default=0),
        train_epochs=section.integer("train_epochs", 1, 10_000),
        finetune_epochs=section.integer("finetune_epochs", 1, 10_000),
        ratios=_ratios(section),
        round_to=section.integer("round_to", 1, 256, default=8),
        objective=section.choice("objective", Objective, default=Objective.SPARSITY),
    )
    section.done()
    return manifest


def _model(section: documents.Section) -> str:
    name = section.text("model")
    if not _NAME.fullmatch(name):
        section.refuse(
            "model", f"expected lower-case letters, digits and dashes (64 at most), found {name!r}; rename it"
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


def _ratios(section: documents.Section) -> tuple[float, ...]:
    ratios = section.numbers("ratios", lambda ratio: 0 < ratio < 1, "shares above 0 and below 1")
    if any(after <= before for before, after in pairwise(ratios)):
        section.refuse("ratios", f"expected them to increase, found {list(ratios)}; sort them and drop what is doubled")
    return ratios
