"""Two folds written from the same numbered rules, in two programs, agree on ledgers made by chance."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pruneguard.audit.export import export
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import verify
from pruneguard.ledger.events import CATALOGUE, Entry
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import State
from tests.audit.conftest import KEYS, stored
from tests.histories import histories


def folded(entries: list[bytes]) -> tuple[standalone.Fold, set[int]]:
    fold, violating = standalone.Fold(), set()
    for position, raw in enumerate(entries):
        if any(fold.take(standalone.parse_entry(raw))):
            violating.add(position)
    return fold, violating


def product_sees(state: State) -> dict[str, Any]:
    return {
        "size": state.size,
        "clock": state.clock,
        "id": state.id,
        "origin": state.origin,
        "violating": {index for index, _ in state.violations},
        "people": {p.actor: (p.person, p.public_key, {r.value for r in p.roles}) for p in state.people.values()},
        "in force": {name: policy.digest for name, policy in state.in_force.items()},
        "was in force": set(state.policies),
        "runs": {run.id: (run.model, run.makers, run.outcome is not None) for run in state.runs.values()},
        "makers": dict(state.makers),
        "verdicts": {(model.name, digest) for model in state.models.values() for digest in model.by_digest},
        "releases": {
            (r.model, r.number): (
                r.digest,
                r.status.value,
                r.share,
                r.held is not None,
                bool(r.shadow),
                [(a.person, a.actor, a.assurance.value) for a in r.approvals],
                set(r.waivers),
            )
            for model in state.models.values()
            for r in model.releases.values()
        },
        "diverted": {model.name: model.diverted.to for model in state.models.values() if model.diverted},
        "waivers": {place: (w.event, w.expires) for place, w in state.waivers.items()},
        "alarms": {a.event: (a.model, a.number, a.detector) for a in state.alarms.values()},
        "told": state.told,
        "holds": {hold.hold: hold.scope for hold in state.holds.values()},
        "subjects": dict(state.commitments),
        "erased": set(state.erased),
        "tokens": {name: (token.holder, token.ended is not None) for name, token in state.tokens.items()},
        "absent": {position for start, end in state.absent for position in range(start, end)},
        "causations": set(state.causations),
        "serving": {
            model.name: {a.stretch.number: a.stretch.share for a in model.standing("9")}
            for model in state.models.values()
            if model.history
        },
    }


def second_sees(fold: standalone.Fold, violating: set[int]) -> dict[str, Any]:
    serving: dict[str, Mapping[int, float]] = {}
    for _, _, model, answering in fold.history:
        serving[model] = {number: float(share) for number, share in answering}
    return {
        "size": fold.size,
        "clock": fold.clock,
        "id": fold.id,
        "origin": fold.origin,
        "violating": violating,
        "people": {actor: (fold.person[actor], fold.keys[actor], fold.roles[actor]) for actor in fold.person},
        "in force": fold.in_force,
        "was in force": fold.ever_in_force,
        "runs": {name: (run.model, run.makers, run.ended) for name, run in fold.runs.items()},
        "makers": fold.makers,
        "verdicts": set(fold.verdicts),
        "releases": {
            (r.model, r.number): (
                *(r.digest, r.status, float(r.share), r.held, r.shadow),
                *(r.approvals, set(r.waived)),
            )
            for releases in fold.releases.values()
            for r in releases.values()
        },
        "diverted": fold.diverted,
        "waivers": {place: (waiver.id, waiver.expires) for place, waiver in fold.waivers.items()},
        "alarms": fold.alarms,
        "told": fold.alarmed_waivers,
        "holds": fold.holds,
        "subjects": fold.subject_of,
        "erased": fold.erased,
        "tokens": fold.tokens,
        "absent": fold.dropped,
        "causations": fold.causations,
        "serving": serving,
    }


@pytest.mark.parametrize(("first", "wrong"), [(0, 0.08), (10, 0.08), (20, 0.25), (30, 0.25)])
def test_both_folds_see_the_same_in_ledgers_full_of_wrong_acts(first: int, wrong: float) -> None:
    took_effect = Counter[str]()
    for history in histories(range(first, first + 10), steps=1_200, wrong=wrong):
        second = second_sees(*folded(history.entries))
        product = product_sees(history.state)
        for what, found in product.items():
            assert second[what] == found, f"seed {history.seed}: {what}"
        violating = product["violating"]
        assert 0 < len(violating) < len(history.entries)
        for position, raw in enumerate(history.entries):
            if position not in violating:
                took_effect[Entry.decode(raw).event.type] += 1
    assert {kind for kind in CATALOGUE if took_effect[kind] < 5} <= {"retention.applied"}, took_effect


def test_both_folds_skip_what_retention_dropped() -> None:
    entries, history = None, None
    for history in histories(range(500, 530), steps=1_500, wrong=0.0):
        if history.state.absent:
            entries = [*history.entries]
            break
    assert entries is not None
    assert history is not None
    for start, end in history.state.absent:
        entries[start:end] = [b""] * (end - start)
    fold = standalone.Fold()
    for raw in entries:
        assert not any(fold.take(standalone.parse_entry(raw) if raw else None))
    assert fold.bodiless == fold.dropped == product_sees(history.state)["absent"]
    assert fold.releases.keys() == history.state.models.keys()


class Store(dict[str, bytes]):
    """Documents by digest, as an export reads them."""

    def get(self, name: str, /) -> bytes:  # type: ignore[override]
        return self[name]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1_000, 250))
def test_a_clean_ledger_raises_no_false_alarm(tmp_path: Path, first: int) -> None:
    out, sizes, answering = tmp_path / "b.tar", 0, 0
    for history in histories(range(first, first + 250), steps=45, wrong=0.0):
        model = next(iter(history.state.models), None)
        while model is None:
            history.step()
            model = next(iter(history.state.models), None)
        export(Ledger(stored(history.entries)), Store(history.documents), keys=KEYS, model=model, out=out)
        report = verify(out)
        assert report.ok, (history.seed, [check for check in report.checks if not check.ok])
        alone = standalone.verify(out.read_bytes())
        assert alone["ok"], (history.seed, [check for check in alone["checks"] if not check["ok"]])
        sizes += len(history.entries)
        answering += any(known.history for known in history.state.models.values())
    assert sizes > 250 * 22
    assert answering > 100
