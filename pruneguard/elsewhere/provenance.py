"""What goes with an export: which release, decided by whom on what, and at which position of which ledger."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pruneguard import canonical
from pruneguard.ledger.ledger import Ledger
from pruneguard.serving.chosen import Chosen
from pruneguard.serving.table import Store

FOLDER = "release"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The documents behind a release, by their path in an export, and what ties them to it."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]

    def document(self, files: Mapping[str, bytes]) -> bytes:
        """`release.json`: the release, and the digest of every other file of the export."""
        digests = {path: canonical.digest(content) for path, content in sorted({**self.files, **files}.items())}
        return json.dumps({**self.about, "files": digests}, indent=1, sort_keys=True).encode() + b"\n"


def provenance(ledger: Ledger, store: Store, chosen: Chosen) -> Provenance:
    """The verdict and policy as they were judged, the newest checkpoint, and a proof that each decision stands in it.

    An auditor checks the proofs against the ledger's key; `pruneguard audit export` gives everything behind them.
    """
    release = chosen.release
    given = ledger.state().models[release.model].by_digest[release.verdict]
    decided = sorted({given.index, release.index, *(approval.index for approval in release.approvals)})
    files = {
        f"{FOLDER}/policy.json": store.get(release.policy),
        f"{FOLDER}/verdict.json": store.get(release.verdict),
        f"{FOLDER}/checkpoint": ledger.checkpoint,
        **{f"{FOLDER}/{index}.tlog-proof": ledger.proof(index) for index in decided},
    }
    about = {
        "kind": "release/v1",
        "model": release.model,
        "number": release.number,
        "status": release.status.value,
        "digest": release.digest,
        "twin": release.twin,
        "policy": release.policy,
        "verdict": release.verdict,
        "score": given.score(),
        "waived": list(release.waivers),
        "approved_by": list(release.approvers),
        "ledger": {"origin": chosen.origin, "vkey": ledger.verifier.vkey, "size": chosen.size, "decided_by": decided},
    }
    return Provenance(files, about)
