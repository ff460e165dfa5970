"""sigstore-python's Merkle verifier and checkpoint parser over each proof of a bundle: as it is, and spoiled."""

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common

folder = Path(sys.argv[1])
name, keyid, encoded = (folder / "ledger/log.vkey").read_text().strip().split("+", 2)
public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
key = common.PublicKey(raw_bytes=base64.b64encode(der), key_details=common.PublicKeyDetails.PKIX_ED25519)
keyring = Keyring([key])


def entries():
    for path in sorted((folder / "ledger/tile/entries").rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        while content:
            size = 2 + int.from_bytes(content[:2])
            yield content[2:size]
            content = content[size:]


def entry(body, proof):
    head, _, note = proof.partition("\n\n")
    _, index, *hashes = head.splitlines()
    _, size, root = note.splitlines()[:3]
    inclusion = SimpleNamespace(
        log_index=int(index.removeprefix("index ")),
        tree_size=int(size),
        root_hash=base64.b64decode(root),
        hashes=[base64.b64decode(one) for one in hashes],
        checkpoint=SimpleNamespace(envelope=note),
    )
    log = SimpleNamespace(key_id=bytes.fromhex(keyid) + bytes(28))
    return SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=body, log_id=log))


def accepts(body, proof):
    try:
        verify_merkle_inclusion(entry(body, proof))
        verify_checkpoint(keyring, entry(body, proof))
    except VerificationError:
        return False
    return True


log = list(entries())
right, wrong = [], []
for path in sorted((folder / "proofs").iterdir()):
    body, proof = log[int(path.name.partition(".")[0])], path.read_text()
    head, _, note = proof.partition("\n\n")
    other = note.replace("\n" + note.splitlines()[1] + "\n", "\n1000\n", 1)
    right.append(accepts(body, proof))
    wrong += [accepts(body[:-1] + bytes([body[-1] ^ 1]), proof), accepts(body, head + "\n\n" + other)]
print(json.dumps({"accepted": sum(right), "of": len(right), "spoiled_accepted": sum(wrong), "entries": len(log)}))
