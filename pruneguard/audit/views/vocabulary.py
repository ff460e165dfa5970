"""The names by which the views call things in other people's formats. Identifiers: nothing is fetched from them."""

import uuid
from urllib.parse import quote

from pruneguard.audit import bundle

OURS = "https://pruneguard.dev/"

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PRUNE_LINEAGE = OURS + "prune-lineage/v1"
RETRAIN_AND_PRUNE = OURS + "retrain-and-prune/v1"

PASSED_LEVEL, WAIVED_LEVEL = "PRUNEGUARD_POLICY", "PRUNEGUARD_POLICY_WITH_WAIVERS"
"""Levels of a verification summary: every rule of the policy passed, or what failed was taken on by a person."""


def hexadecimal(digest: str) -> str:
    """The digest as other formats write it.

    >>> hexadecimal("sha256:00ff")
    '00ff'
    """
    return digest.removeprefix("sha256:")


def ledger_uri(origin: str) -> str:
    return f"{OURS}ledger/{quote(origin)}"


def model_uri(model: str, digest: str) -> str:
    """A package URL (ECMA-427) of type generic: a model of this name with these bytes."""
    return f"pkg:generic/{quote(model, safe='')}@{quote(digest, safe='')}"


def identifier(*parts: str) -> str:
    """A UUID that follows from what it names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, OURS + "/".join(parts)))


def resource(name: str, digest: str, **annotations: object) -> dict[str, object]:
    """An in-toto ResourceDescriptor of something known by its digest."""
    described: dict[str, object] = {"name": name, "digest": {"sha256": hexadecimal(digest)}}
    return described | ({"annotations": annotations} if annotations else {})


def document(name: str, digest: str, **annotations: object) -> dict[str, object]:
    """The same of a document, with the place where it lies in a bundle."""
    return {"uri": bundle.document_path(digest), **resource(name, digest, **annotations)}
