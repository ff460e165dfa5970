"""When things happen: one file a flow, each reading like its runbook.

Prefect executes and schedules; the ledger is the record. Prefect reads its settings as it is imported, so they are
given here: nothing is sent to anybody, its log leaves the story to us, and the embedded server keeps its files in our
home. A value that you set yourself wins; PREFECT_API_URL makes the flows use a server that is running.
"""

import os
from pathlib import Path

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_HOME": str(Path(os.environ.get("PRUNEGUARD_HOME", "var")).resolve() / "prefect"),
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
}.items():
    os.environ.setdefault(_name, _value)
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
