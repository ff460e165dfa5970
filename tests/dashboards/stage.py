"""A ledger with four models in different states of their lives, and every document behind them: what the pages show."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from pruneguard import home
from pruneguard.artifacts import Artifacts
from pruneguard.evidence import Estimate, Evidence, Measurement, PairedTable
from pruneguard.gates import judge
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.settings import Settings
from pruneguard.testing import POLICY, Script, counted
from tests.ledgers import new_ledger


def staged(folder: Path) -> Settings:
    """`digits` decayed and was rolled back, `spam` awaits approval, `voice` is in canary, `signs` is well."""
    settings = new_ledger(folder)
    ledger = home.open_ledger(settings)
    Troupe(ledger, home.artifacts(settings)).play()
    ledger.close()
    return settings


class Troupe:
    """Records what four models live through."""

    def __init__(self, ledger: Ledger, artifacts: Artifacts) -> None:
        self.artifacts = artifacts
        self.script = Script(ledger, artifacts, now=datetime.now(UTC) - timedelta(hours=3))
        self.data = artifacts.put(b"rows")

    def play(self) -> None:
        self.script.record(
            "policy.adopted",
            "grace",
            {"policy": self.artifacts.put(POLICY.encode())},
            signed=True,
            **POLICY.terms,
        )
        for model in ("signs", "voice", "spam", "digits"):
            self.script.model = model
            twin, verdict = self.begin(model)
            self.release(twin, verdict, number=1, shares=("1",))
            self.seal(twin, number=1, flips=(0, 0), evalues=(None, None))
            if model == "signs":
                continue
            candidate, verdict = self.search(model, twin)
            self.script.record("run.finished", "ada", run=f"{model}-1", outcome="proposed")
            if model == "spam":
                self.propose(candidate, verdict, number=2)
            elif model == "voice":
                self.release(candidate, verdict, number=2, shares=("0.1",))
                self.seal(candidate, number=2, flips=(0,), evalues=("0.91",), rows=120)
            else:
                self.release(candidate, verdict, number=2, shares=("0.1", "1"))
                self.seal(
                    candidate,
                    number=2,
                    flips=(0, 1, 0, 2, 9, 17),
                    evalues=("0.9", "0.7", "0.6", "0.8", "11.2", "412.7"),
                )
                self.decay(candidate)

    def begin(self, model: str) -> tuple[str, str]:
        run = f"{model}-1"
        manifest = self.script.put({"kind": "manifest/v1", "model": model})
        self.script.record("run.started", "ada", {"manifest": manifest}, signed=True, run=run)
        self.admitted = Evidence(self.data, None, self.data, {"data.leakage": Estimate(0.0, n=900)})
        refs = {"data": self.data, "evidence": self.artifacts.put(self.admitted.encode())}
        refs["page"] = self.artifacts.put(b"<!doctype html><title>Data</title>")
        self.script.record("data.admitted", "ada", refs, run=run)
        twin = self.artifacts.put(f"ONNX of the twin of {model}".encode())
        self.script.record("model.trained", "ada", {"model": twin, "data": self.data}, run=run)
        return twin, self.judge(twin, twin, PairedTable(870, 0, 0, 30), kept=1.0, latency=1.0)

    def search(self, model: str, twin: str) -> tuple[str, str]:
        """Three candidates are cut; the sparsest is rejected for two reasons. Returns the best and its verdict."""
        best = ("", "")
        for ratio, table, kept, latency in (
            ("0.25", PairedTable(866, 9, 4, 21), 0.58, 0.81),
            ("0.5", PairedTable(864, 8, 6, 22), 0.27, 0.61),
            ("0.75", PairedTable(640, 10, 230, 20), 0.08, 0.35),
        ):
            digest = self.artifacts.put(f"ONNX of {model} cut by {ratio}".encode())
            lineage = self.script.put({"kind": "lineage/v1", "dense": twin, "ratio": ratio})
            refs = {"model": digest, "parent": twin, "data": self.data, "lineage": lineage}
            recipe = {"name": "channels", "steps": "prune channels", "ratio": ratio}
            self.script.record("model.pruned", "ada", refs, run=f"{model}-1", recipe=recipe)
            verdict = self.judge(digest, twin, table, kept=kept, latency=latency)
            if ratio == "0.5":
                best = (digest, verdict)
        return best

    def judge(self, digest: str, twin: str, table: PairedTable, *, kept: float, latency: float) -> str:
        evidence = measured(digest, twin, self.data, table, kept=kept, latency=latency)
        verdict = judge(POLICY, [self.admitted, evidence], candidate=digest, twin=twin, data=self.data)
        refs = {
            "model": digest,
            "parent": twin,
            "data": self.data,
            "policy": POLICY.digest,
            "evidence": [self.artifacts.put(e.encode()) for e in (self.admitted, evidence)],
            "verdict": self.artifacts.put(verdict.encode()),
        }
        run = f"{self.script.model}-1"
        self.script.record("verdict.given", "ada", refs, run=run, split="release", **verdict.outline)
        return verdict.digest

    def propose(self, digest: str, verdict: str, *, number: int) -> None:
        self.script.record("release.proposed", "ada", {"model": digest, "verdict": verdict}, signed=True, number=number)

    def release(self, digest: str, verdict: str, *, number: int, shares: Sequence[str]) -> None:
        self.propose(digest, verdict, number=number)
        why = "every gate passed, slices looked at"
        self.script.record("release.approved", "grace", {"model": digest}, signed=True, number=number, reason=why)
        for share in shares:
            refs, data = counted(self.script.ledger.state(), self.artifacts, model=self.script.model, number=number)
            self.script.record("traffic.shifted", MONITOR, refs, **data, share=share)

    def seal(
        self, digest: str, *, number: int, flips: Sequence[int], evalues: Sequence[str | None], rows: int = 500
    ) -> None:
        for flipped, evalue in zip(flips, evalues, strict=True):
            refs = {"model": digest, "batch": self.artifacts.put(f"observations at {self.script.now}".encode())}
            data: dict[str, Any] = {
                "number": number,
                "rows": rows,
                "twin_runs": rows // 10,
                "flips": flipped,
                "dropped": 0,
            }
            if evalue is not None:
                data |= {"evalue": evalue, "threshold": "100"}
            self.script.record("batch.sealed", MONITOR, refs, **data)

    def decay(self, digest: str) -> None:
        metrics = [
            {
                "config": {"column": column, "method": method, "threshold": threshold},
                "value": value,
                "metric_name": f"ValueDrift(column={column})",
            }
            for column, method, threshold, value in (
                ("x.0", "wasserstein", 0.25, 0.04),
                ("x.1", "wasserstein", 0.25, 0.11),
                ("confidence", "wasserstein", 0.25, 0.62),
                ("predicted", "jensenshannon", 0.2, 0.09),
            )
        ]
        report = self.artifacts.put(json.dumps({"metrics": metrics}).encode())
        html = self.artifacts.put(b"<!doctype html><title>drift</title>")
        refs = {"model": digest, "report": report, "html": html}
        self.script.record("drift.reported", MONITOR, refs, number=2, drifted=1, columns=4)
        alarm = self.script.record(
            "alarm.raised",
            MONITOR,
            {"model": digest},
            number=2,
            detector="twin disagreement",
            cause="artefact",
            evidence={"evalue": "412.7", "threshold": "100", "requests": 3000, "twin_runs": 300, "flips": 29},
        )
        self.script.record(
            "release.rolled_back",
            MONITOR,
            {"model": digest},
            number=2,
            to=1,
            reason="the twin disagrees with the pruned artefact",
            alarm=alarm.event.id,
        )


def measured(digest: str, twin: str, data: str, table: PairedTable, *, kept: float, latency: float) -> Evidence:
    tenth = PairedTable(*(cell // 10 for cell in (table.both_right, table.candidate_only, table.twin_only, 30)))
    accuracy = (table.both_right + table.candidate_only) / table.n
    twins = (table.both_right + table.twin_only) / table.n
    flips = (table.candidate_only + table.twin_only) / table.n
    measurements: dict[str, Measurement] = {
        "quality.accuracy": Estimate(accuracy, accuracy - 0.012, min(accuracy + 0.012, 1.0), n=table.n),
        "quality.twin_accuracy": Estimate(twins, twins - 0.012, twins + 0.012, n=table.n),
        "quality.paired": table,
        "quality.flips": Estimate(flips, 0.0, flips + 0.015, n=table.n),
        "efficiency.latency_ratio": Estimate(latency, latency * 0.97, latency * 1.03, n=200),
        "efficiency.parameter_ratio": Estimate(kept, n=1),
        "efficiency.size_bytes": Estimate(92_000 * kept, n=1, unit="B"),
    }
    slices: dict[str, Measurement] = {f"quality.paired.slice.class={label}": tenth for label in range(10)}
    return Evidence(digest, twin, data, measurements | slices, {"split": "release", "seed": "7"})


def open_app(settings: Settings, page: str, **query: str) -> AppTest:
    """One page of the dashboard over a ledger, run once without a browser."""

    def script(name: str) -> None:
        import importlib

        from dashboards import frame

        frame.banner()
        importlib.import_module(f"dashboards.views.{name}").page()

    app = AppTest.from_function(script, kwargs={"name": page}, default_timeout=30)
    app.secrets["pruneguard"] = {"settings": settings.model_dump_json()}
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def shown(app: AppTest) -> str:
    """Every text that a page shows, in order of kind."""
    kinds = (
        app.title,
        app.subheader,
        app.markdown,
        app.caption,
        app.error,
        app.warning,
        app.info,
        app.success,
        app.code,
    )
    texts = [element.value for kind in kinds for element in kind]
    tables = [table.value.to_string() for table in app.table]
    metrics = [f"{metric.label} {metric.value} {metric.delta}" for metric in app.metric]
    assert not app.exception, app.exception[0].message
    return "\n".join(map(str, [*texts, *tables, *metrics]))
