"""What is never measured of some rows and a kind of network: known before anything is trained."""

from collections.abc import Iterable, Mapping

from pruneguard import canonical
from pruneguard.evaluation import corruptions
from pruneguard.evaluation.case import Case
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.data_quality import papers
from pruneguard.evaluation.evaluate import families
from pruneguard.pruning.export import to_onnx
from pruneguard.workload import Kind, Snapshot, Workload, ask

_EXAMPLES = 64
_ROWS: Mapping[Kind, str] = {"images": "images", "table": "those of a table", "text": "texts"}


def gaps(workload: Workload, snapshot: Snapshot, names: Iterable[str]) -> dict[str, str]:
    """Those of some measurements that no run of this workload makes, each with the reason.

    The network is built and exported, with its first weights: whether gradients reach the rows is tried, not guessed.
    Raises InvalidInputError where it cannot be built, exported or fed with the rows.
    """
    model = ask(workload, "build").eval()
    onnx = to_onnx(model, snapshot.train.x[:_EXAMPLES], classes=snapshot.classes)
    built = Contender(canonical.digest(onnx), onnx, model)
    case = Case.of(built, built, snapshot, split="gate", seed=0, yardstick=None)
    lacking = {family.name: family.lacks for family in families(case)}
    lacking[crossing.NAME] = lambda: crossing.lacks(snapshot)
    found: dict[str, str | None] = {}
    for name in names:
        above = [each for each in lacking if name == each or name.startswith(f"{each}.")]
        if above:
            why = lacking[max(above, key=len)]()
            found[name] = why and why.removesuffix(" (candidate)")  # it stands on both sides
        elif name.startswith("robustness."):
            kinds = ", ".join(corruptions.families(case.domain))
            found[name] = f"the rows are {_ROWS[case.domain.kind]}, and what is done to such is {kinds}"
        elif name == "data.card_gaps" and papers(workload).card is None:
            found[name] = "the workload names no data card"
        elif name.startswith("data.feedback.") and snapshot.numeric:
            found[name] = "takes classes, and the answers are numbers"
    return {name: why for name, why in found.items() if why is not None}
