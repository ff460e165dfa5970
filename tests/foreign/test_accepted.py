"""What we export, others accept; what was spoiled, they refuse."""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pruneguard import canonical
from pruneguard.audit import signing
from tests.foreign.conftest import PYTHON, Asked

OSCAL = Path(__file__).parents[1] / "assets" / "oscal"
KEY = ec.derive_private_key(7, ec.SECP256R1())


def test_sigstore_accepts_our_proofs_and_checkpoint_and_refuses_others(bundle: Path, ask: Asked) -> None:
    found = ask("log.py", bundle)
    assert found["accepted"] == found["of"] > 10
    assert found["spoiled_accepted"] == 0


def test_securesystemslib_and_in_toto_accept_our_attestations(bundle: Path, ask: Asked) -> None:
    found = ask("attested.py", bundle)
    assert found["accepted"] == found["envelopes"] > 10
    assert found["spoiled_accepted"] == 0
    assert set(found["kinds"]) >= {
        "https://slsa.dev/provenance/v1",
        "https://slsa.dev/verification_summary/v1",
        "https://in-toto.io/attestation/test-result/v0.1",
        "https://pruneguard.dev/prune-lineage/v1",
    }


def test_cyclonedx_accepts_our_bills_of_materials_strictly(bundle: Path, ask: Asked, tmp_path: Path) -> None:
    bills = sorted(map(str, bundle.glob("models/*/mlbom.cdx.json")))
    assert bills
    document = json.loads(Path(bills[0]).read_bytes())
    document["metadata"]["timestamp"] = "yesterday"
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_text(json.dumps(document))
    found = ask("schemas.py", "cyclonedx", "-", *bills, spoiled)
    assert found.pop(str(spoiled))
    assert found == {path: [] for path in bills}


def test_mlcroissant_accepts_our_descriptions_of_data(bundle: Path, ask: Asked, tmp_path: Path) -> None:
    cards = sorted(map(str, bundle.glob("data/*/croissant.json")))
    assert cards
    document = json.loads(Path(cards[0]).read_bytes())
    document["distribution"] = [{"@type": "cr:FileObject", "@id": "rows", "name": "rows"}]  # without a digest
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_text(json.dumps(document))
    found = ask("schemas.py", "croissant", "-", *cards, spoiled)
    assert found.pop(str(spoiled))
    assert found == {path: [] for path in cards}


@pytest.mark.parametrize("kind", ["catalog", "assessment-results"])
def test_the_oscal_schema_accepts_our_controls(bundle: Path, ask: Asked, tmp_path: Path, kind: str) -> None:
    files = sorted(map(str, bundle.glob(f"compliance/*/oscal-{kind}.json")))
    assert files
    document = json.loads(Path(files[0]).read_bytes())
    document[kind]["uuid"] = "none"
    spoiled = tmp_path / "spoiled.json"
    spoiled.write_text(json.dumps(document))
    found = ask("schemas.py", "schema", OSCAL / f"oscal_{kind}_schema.json", *files, spoiled)
    assert found.pop(str(spoiled))
    assert found == {path: [] for path in files}


class Signed:
    """A model's folder, its signature and the public key, and what `model_signing` says of them."""

    def __init__(self, folder: Path) -> None:
        self.model, self.signature, self.public = folder / "model", folder / "model.sig", folder / "key.pub"
        self.model.mkdir()
        content = b"ONNX" * 1000
        (self.model / signing.FILE).write_bytes(content)
        self.signature.write_bytes(signing.sign(canonical.digest(content), KEY))
        self.public.write_bytes(signing.public_pem(KEY))

    def accepted(self) -> bool:
        command = [PYTHON, "-m", "model_signing", "verify", "key", self.model]
        command += ["--public_key", self.public, "--signature", self.signature]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or "failed" in done.stdout + done.stderr, done.stdout + done.stderr
        return done.returncode == 0


@pytest.fixture
def signed(ask: Asked, tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_model_signing_accepts_our_signature(signed: Signed) -> None:
    assert signed.accepted()
    assert signing.folder_faults(signed.model) == []


@pytest.mark.parametrize("change", ["edited", "renamed", "beside", "another key", "another model's"])
def test_model_signing_refuses_what_was_spoiled(signed: Signed, change: str) -> None:
    file = signed.model / signing.FILE
    match change:
        case "edited":
            file.write_bytes(b"edited")
        case "renamed":
            file.rename(signed.model / "other.onnx")
        case "beside":
            (signed.model / "extra.py").write_text("x")
        case "another key":
            signed.public.write_bytes(signing.public_pem(ec.derive_private_key(8, ec.SECP256R1())))
        case "another model's":
            signed.signature.write_bytes(signing.sign(canonical.digest(b"other"), KEY))
    assert not signed.accepted()


@pytest.mark.parametrize("name", [".git/hook", ".gitattributes"])
def test_what_model_signing_overlooks_we_do_not(signed: Signed, name: str) -> None:
    smuggled = signed.model / name
    smuggled.parent.mkdir(exist_ok=True)
    smuggled.write_text("x")
    assert signed.accepted()
    assert f"{name} was not signed; remove it" in signing.folder_faults(signed.model)
