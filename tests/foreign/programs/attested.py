"""securesystemslib on every envelope, in-toto's own protocol buffers on every statement, strictly."""

import base64
import copy
import json
import sys
from collections import Counter
from pathlib import Path

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

PREDICATES = {
    "https://slsa.dev/provenance/v1": provenance_pb2.Provenance,
    "https://slsa.dev/verification_summary/v1": vsa_pb2.VerificationSummary,
    "https://in-toto.io/attestation/test-result/v0.1": test_result_pb2.TestResult,
}

folder = Path(sys.argv[1])
vkey = (folder / "ledger/log.vkey").read_text().strip()
public = base64.b64decode(vkey.split("+", 2)[2])[1:]
key = SSlibKey(vkey, "ed25519", "ed25519", {"public": public.hex()})


def accepts(document):
    try:
        Envelope.from_dict(copy.deepcopy(document)).verify([key], 1)
    except VerificationError:
        return False
    return True


kinds, envelopes, accepted, spoiled = Counter(), 0, 0, 0
lines = [line for path in sorted(folder.glob("attestations/**/*.jsonl")) for line in path.read_text().splitlines()]
for line in [*lines, (folder / "manifest.dsse.json").read_text()]:
    document = json.loads(line)
    envelopes += 1
    accepted += accepts(document)
    spoiled += accepts({**document, "payloadType": "application/json"})
    other = base64.b64encode(base64.b64decode(document["payload"]) + b" ").decode()
    spoiled += accepts({**document, "payload": other})
    text = base64.b64decode(document["payload"]).decode()
    json_format.Parse(text, statement_pb2.Statement())
    statement = json.loads(text)
    kind = statement["predicateType"]
    kinds[kind] += 1
    if kind.startswith("https://slsa.dev/verification_summary/"):
        del statement["predicate"]["verifiedLevels"]  # a list, says SLSA; a single text, says this library
    if kind in PREDICATES:
        json_format.ParseDict(statement["predicate"], PREDICATES[kind]())
print(json.dumps({"envelopes": envelopes, "accepted": accepted, "spoiled_accepted": spoiled, "kinds": kinds}))
