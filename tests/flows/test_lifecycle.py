"""The steps of a run, called directly: what they record, and what an interruption leaves."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from policies.document import load_policy
from pruneguard import attempts, canonical, lifecycle, searched, testing
from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.gates.assurance import Assurance
from pruneguard.ledger.events import Entry
from pruneguard.ledger.ledger import Ledger
from pruneguard.lifecycle import Job
from pruneguard.manifest import Manifest, load_manifest
from pruneguard.policy import Policy, Rule
from pruneguard.pruning import lineage, recipe, storage, weights
from pruneguard.pruning.recomputing import departures, recompute
from pruneguard.releases import adopt, approve
from pruneguard.reporting import Quiet, listener
from pruneguard.search import Trial

TINY = Path(__file__).parent / "tiny" / "manifest.yaml"


class Heard(Quiet):
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Bench:
    """A ledger in memory with four people, an artefact folder, and the tiny manifest."""

    def __init__(self, folder: Path) -> None:
        self.ledger = testing.memory_ledger()
        testing.register(self.ledger)
        self.artifacts = Artifacts(str(folder))
        self.manifest: Manifest = load_manifest(TINY)
        self.policy: Policy = load_policy(self.manifest.policy, relative_to=TINY.parent)

    def adopt(self) -> None:
        adopt(self.ledger, self.artifacts, policy=self.policy, signer=testing.people()["grace"])

    def begin(self, actor: str = "ada", *, data_dir: Path = Path("absent")) -> Job:
        return lifecycle.begin(
            self.manifest,
            self.policy,
            data_dir=data_dir,
            ledger=self.ledger,
            artifacts=self.artifacts,
            signer=testing.people()[actor],
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def types(ledger: Ledger) -> Counter[str]:
    return Counter(Entry.decode(raw).event.type for raw in ledger.raw(0, ledger.size))


def walk(job: Job) -> None:
    data = lifecycle.admit(job)
    twin = lifecycle.train(job)
    tried = [attempts.attempt(job, twin, data, Trial("channels", ratio)) for ratio in job.manifest.ratios]
    chosen = attempts.choose(job, tried)
    assert chosen is not None
    _, verdict = lifecycle.judge(job, chosen.candidate, twin.contender, data)
    lifecycle.propose(job, chosen.candidate, verdict)


def test_a_run_records_every_step_once_and_a_second_walk_adds_nothing(bench: Bench) -> None:
    bench.adopt()
    walk(bench.begin())
    recorded = bench.ledger.size
    assert types(bench.ledger) >= Counter(
        [
            "run.started",
            "data.admitted",
            "model.trained",
            *["model.pruned"] * 2,
            *["verdict.given"] * 3,
            "release.proposed",
        ]
    )
    again = bench.begin()  # the run has not ended, so this takes it up: as after kill -9
    walk(again)
    assert again.run == "tiny-1"
    assert bench.ledger.size == recorded
    assert bench.ledger.state().violations == []


def test_a_run_that_was_interrupted_goes_on_with_what_is_missing(bench: Bench) -> None:
    bench.adopt()
    first = bench.begin()
    lifecycle.admit(first)
    twin = lifecycle.train(first)
    again = bench.begin()
    assert lifecycle.train(again).digest == twin.digest
    assert types(bench.ledger)["model.trained"] == 1
    walk(again)
    assert types(bench.ledger)["release.proposed"] == 1


def test_an_interrupted_run_never_goes_on_with_other_data(bench: Bench, tmp_path: Path) -> None:
    bench.adopt()
    lifecycle.admit(bench.begin())
    (tmp_path / "a-row-less").touch()
    assert bench.begin(data_dir=tmp_path).run == "tiny-2"
    assert bench.begin().run == "tiny-1"  # the rows it began with are back


def test_a_run_that_ended_is_not_taken_up_again(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    lifecycle.finish(job, "nothing passed")
    assert bench.begin().run == "tiny-2"


def test_what_the_lineage_says_was_cut_can_be_cut_again_bit_for_bit(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    attempts.attempt(job, twin, data, Trial("channels", 0.5))
    pruned = next(
        e.event for e in map(Entry.decode, bench.ledger.raw(0, bench.ledger.size)) if e.event.type == "model.pruned"
    )
    recorded = lineage.decode(bench.artifacts.get(pruned.refs["lineage"]))
    rebuilt = recompute(weights.dump(twin.model), recorded)
    assert canonical.digest(rebuilt) == recorded.weights


RECIPES = {
    "weights": ({"prune": "weights"},),
    "rewind": ({"prune": "weights", "schedule": "rewind", "rounds": 1},),
    "factors": ({"factor": "layers"},),
    "all": ({"select": "rows", "by": "noise"}, {"prune": "channels"}, {"prune": "weights"}, {"encode": "huffman"}),
    "int8": ({"prune": "channels", "ratio": 0.5}, {"quantise": "int8"}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_made_can_be_checked_and_is_taken_up_again(bench: Bench, name: str) -> None:
    steps = [recipe.step(step) for step in RECIPES[name]]
    bench.manifest = replace(bench.manifest, recipes=(recipe.recipe(name, steps),), round_to=2)
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    trial = Trial(name, 0.5)
    first = attempts.attempt(job, twin, data, trial)
    assert first.reason is None
    (pruned,) = (
        e.event for e in map(Entry.decode, bench.ledger.raw(0, bench.ledger.size)) if e.event.type == "model.pruned"
    )
    told = dict(pruned.data["recipe"])
    assert (told.pop("int8", None), float(told.pop("agreement", 1)) > 0.9) == (
        "static" if name == "int8" else None,
        True,
    )
    assert told == {"name": name, "steps": ", ".join(s.name for s in steps), "ratio": "0.5"}
    cut = lineage.decode(bench.artifacts.get(pruned.refs["lineage"]))
    stored = bench.artifacts.get(pruned.refs["masks"]) if "masks" in pruned.refs else None
    final = bench.artifacts.get(pruned.refs["weights"])
    assert recompute(bench.artifacts.get(cut.start), cut, stored)
    assert list(departures(final, cut, stored)) == []
    if "coded" in pruned.refs:
        assert storage.decode(bench.artifacts.get(pruned.refs["coded"])) == final
    size = bench.ledger.size
    again = attempts.attempt(bench.begin(), twin, data, trial)
    assert bench.ledger.size == size
    assert weights.dump(again.candidate.model) == weights.dump(first.candidate.model)
    assert again.evidence.digest == first.evidence.digest
    assert again.candidate.unrounded == first.candidate.unrounded
    assert (first.candidate.unrounded is not None) == (name == "int8")


def test_a_recipe_that_cannot_be_done_is_an_attempt_without_a_network(bench: Bench) -> None:
    heads = recipe.recipe("heads", [recipe.step({"prune": "heads"})])
    bench.manifest = replace(bench.manifest, recipes=(heads,))
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    tried = attempts.attempt(job, twin, data, Trial("heads", 0.5))
    assert "no heads" in tried.reason
    assert attempts.choose(job, [tried]) is None
    assert attempts.nearest(job, [tried]) is tried
    assert types(bench.ledger)["model.pruned"] == 0

    size = bench.ledger.size
    again = attempts.attempt(bench.begin(), twin, data, Trial("heads", 0.5))
    assert (again.reason, again.too_mild) == (tried.reason, tried.too_mild)
    assert (types(bench.ledger)["attempt.failed"], bench.ledger.size) == (1, size)


def test_a_candidate_too_large_for_the_policy_is_refused_before_it_is_trained(bench: Bench) -> None:
    small = Rule(
        "efficiency.size_ratio", "at_most", "efficiency.size_ratio", {"limit": 0.01}, "It must fit.", "Prune more."
    )
    bench.policy = replace(bench.policy, rules=(small, *bench.policy.rules))
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    tried = attempts.attempt(job, twin, data, Trial("channels", 0.5))
    result = attempts.result(job, tried)
    assert (result.passed, result.full, result.stopped_by, result.too_mild) == (
        False,
        False,
        "efficiency.size_ratio",
        True,
    )
    assert tried.evidence.get("quality.paired") is None
    (pruned,) = (
        e.event for e in map(Entry.decode, bench.ledger.raw(0, bench.ledger.size)) if e.event.type == "model.pruned"
    )
    cut = lineage.decode(bench.artifacts.get(pruned.refs["lineage"]))
    assert cut.weights == pruned.refs["weights"]  # nothing was trained since the cut


def test_nothing_is_recorded_under_a_policy_that_nobody_adopted(bench: Bench) -> None:
    size = bench.ledger.size
    with pytest.raises(InvalidInputError, match="never adopted"):
        bench.begin()
    assert bench.ledger.size == size


def test_only_an_engineer_starts_a_run(bench: Bench) -> None:
    bench.adopt()
    with pytest.raises(InvalidInputError, match="'otto' is not an engineer"):
        bench.begin("otto")


def test_the_sparsest_that_passes_is_chosen_and_none_when_none_does(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    mild, bold = (attempts.attempt(job, twin, data, Trial("channels", ratio)) for ratio in job.manifest.ratios)
    refused = replace(bold, verdict=replace(bold.verdict, findings=()), assurance=None)
    assert attempts.choose(job, [mild, bold]) is bold
    assert attempts.choose(job, [mild, refused]) is mild
    assert attempts.choose(job, [refused]) is None


def test_a_run_does_not_go_on_under_another_policy_than_it_began_with(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    assert bench.begin().run == job.run
    bench.policy = replace(bench.policy, name="another")  # as when a policy that it extends has changed
    bench.adopt()
    assert bench.begin().run != job.run


def test_it_is_told_how_many_runs_looked_at_the_release_rows_before(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    walk(job)
    assert lifecycle.admit(job).get("data.openings").value == 0
    lifecycle.finish(job, "proposed")
    bench.manifest = replace(bench.manifest, seed=5)
    again = bench.begin()
    heard = Heard()
    token = listener.set(heard)
    try:
        assert lifecycle.admit(again).get("data.openings").value == 1
    finally:
        listener.reset(token)
    assert any(job.run in sentence and "by luck" in sentence for sentence in heard.said)


def test_a_candidate_on_the_edge_is_doubtful_and_taken_only_where_none_is_sure(bench: Bench) -> None:
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    sure, bold = (attempts.attempt(job, twin, data, Trial("channels", ratio)) for ratio in job.manifest.ratios)
    edge = replace(bold, assurance=Assurance(0.55, "quality.paired"))
    told = attempts.result(job, edge)
    assert (told.passed, told.full, told.stopped_by, told.too_mild) == (False, True, "quality.paired", False)
    assert attempts.choose(job, [sure, edge]) is sure
    lucky = replace(sure, assurance=Assurance(0.7, "quality.paired"))
    assert attempts.choose(job, [edge, lucky]) is lucky
    assert searched.doubt(sure) is None
    assert "doubtful" in searched.summary(job, edge, chosen=False)
    said = searched.doubt(edge)
    assert (
        said
        == "doubtful: a chance of 55 % to pass again on other rows (quality.paired would fail first); 80 % is asked"
    )
    assert [each.outcome.value for each in searched.shown(job, [sure, edge])] == ["chosen", "doubtful"]
    page = searched.page(job, [sure, edge]).decode()
    assert "pale disc" in page
    assert "Weights that may go before more than the margin" in page
    found = searched.outline(job, [sure, edge])["potential"]["quality"]
    gone = [1 - each.evidence.get("efficiency.nonzero_ratio").value for each in (sure, edge)]
    assert (found["shown"], found["candidates"]) == (max(gone), 2)


def test_a_pruned_version_of_another_model_is_where_a_candidate_starts(bench: Bench) -> None:
    sparse = recipe.recipe("sparse", [recipe.step({"prune": "weights"})])
    bench.manifest = replace(bench.manifest, model="first", recipes=(sparse,))
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    tried = attempts.attempt(job, twin, data, Trial("sparse", 0.5))
    for contender in (twin.contender, tried.candidate):
        _, verdict = lifecycle.judge(job, contender, twin.contender, data)
        number = int(lifecycle.propose(job, contender, verdict).event.data["number"])
        people, model = testing.people(), "first"
        approve(bench.ledger, model=model, number=number, reason="read", signer=people["grace"])
        testing.lead(bench.ledger, model=model, number=number, share=1.0)

    moved = recipe.recipe("moved", [recipe.step({"transfer": "weights", "from": "first"})])
    bench.manifest = replace(bench.manifest, model="second", seed=4, recipes=(moved,))
    job = bench.begin()
    data, other = lifecycle.admit(job), lifecycle.train(job)
    made = attempts.attempt(job, other, data, Trial("moved", 0.0))
    assert made.reason is None
    events = [Entry.decode(raw).event for raw in bench.ledger.raw(0, bench.ledger.size)]
    pruned = next(e for e in events if e.type == "model.pruned" and e.data["model"] == "second")
    cut, stored = lineage.decode(bench.artifacts.get(pruned.refs["lineage"])), bench.artifacts.get(pruned.refs["masks"])
    assert cut.start == pruned.refs["start"] != cut.dense
    assert recompute(bench.artifacts.get(cut.start), cut, stored)
    assert list(departures(bench.artifacts.get(pruned.refs["weights"]), cut, stored)) == []
    assert cut.sparsity == pytest.approx(0.5, abs=0.1)


def test_there_is_nothing_to_transfer_from_a_model_that_nobody_pruned(bench: Bench) -> None:
    moved = recipe.recipe("moved", [recipe.step({"transfer": "weights", "from": "nobody"})])
    bench.manifest = replace(bench.manifest, recipes=(moved,))
    bench.adopt()
    job = bench.begin()
    data, twin = lifecycle.admit(job), lifecycle.train(job)
    assert "nothing to transfer from 'nobody'" in attempts.attempt(job, twin, data, Trial("moved", 0.0)).reason
