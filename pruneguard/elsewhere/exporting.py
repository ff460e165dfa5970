"""Exports: every file of one, and the folder that they become, whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from pruneguard import canonical
from pruneguard.elsewhere import kserve, runner, triton
from pruneguard.elsewhere.provenance import FOLDER, provenance
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.serving.chosen import Chosen
from pruneguard.serving.table import Store

RELEASE = f"{FOLDER}/release.json"
MODELS = "models"
"""Below this lies the Triton repository: what else is in the folder would be a model to Triton."""


def to_triton(ledger: Ledger, store: Store, chosen: Chosen, output: Path) -> str:
    """A Triton repository in `output`/models. The digest of its release.json is returned, as by all of these."""
    return _export(ledger, store, chosen, _models(chosen), output)


def to_kserve(
    ledger: Ledger,
    store: Store,
    chosen: Chosen,
    output: Path,
    *,
    storage: str,
    name: str = "",
    canary_percent: int | None = None,
) -> str:
    """As for Triton, to be put where `storage` points to, and the InferenceService that runs it."""
    made = kserve.service(chosen, storage=storage, name=name, canary_percent=canary_percent)
    return _export(ledger, store, chosen, {**_models(chosen), "inferenceservice.yaml": made}, output)


def to_edge(ledger: Ledger, store: Store, chosen: Chosen, output: Path) -> str:
    """The model, what it rests on, and a program that answers with it and keeps observations."""
    files = {"model.onnx": chosen.onnx, "run.py": Path(runner.__file__).read_bytes()}
    return _export(ledger, store, chosen, files, output)


def _models(chosen: Chosen) -> dict[str, bytes]:
    return {f"{MODELS}/{path}": content for path, content in triton.repository(chosen).items()}


def _export(ledger: Ledger, store: Store, chosen: Chosen, files: Mapping[str, bytes], output: Path) -> str:
    found = provenance(ledger, store, chosen)
    document = found.document(files)
    _write({**found.files, **files, RELEASE: document}, output)
    return canonical.digest(document)


def _write(files: Mapping[str, bytes], output: Path) -> None:
    """All files in a new folder. Raises InvalidInputError where something has its name."""
    if output.exists():
        raise InvalidInputError(f"{output} exists already and is never overwritten; choose another folder")
    partial = output.with_name(f".{output.name}.{secrets.token_hex(8)}.part")
    try:
        for path, content in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            with (partial / path).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
