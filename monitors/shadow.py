"""A release in the shadow: it answers copies of requests off their path, and nobody gets these answers."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from monitors.budget import Budget
from monitors.watched import Twin
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.state import Model
from pruneguard.serving.observing import Answer
from pruneguard.serving.routing import takes_copy


class Shadows:
    """Sessions of the releases that answer copies, loaded when they are first asked. `budget` bounds what they cost."""

    def __init__(self, artifacts: Artifacts, budget: Budget) -> None:
        self._artifacts, self._budget = artifacts, budget
        self._sessions: dict[str, Twin] = {}
        self.skipped = 0
        """Requests whose copy went without an answer, because the budget was spent."""

    def answers(self, model: Model, answers: Sequence[Answer]) -> list[Answer]:
        """What the model's shadow says to its share of the requests that the live version has answered.

        Raises a PruneGuardError when the shadow cannot be loaded (tried again after five seconds) or cannot answer.
        """
        shadow, live = model.shadow, model.live
        if shadow is None or live is None:
            self._sessions.clear()
            return []
        session = self._sessions.get(shadow.digest)
        if session is None:
            self._sessions = {shadow.digest: (session := Twin(self._artifacts, shadow.digest, self._budget))}
        drawn = [
            answer
            for answer in answers
            if answer.version == live.number
            and takes_copy(answer.request_id, model=model.name, number=shadow.number, share=shadow.shadow)
        ]
        said = []
        for answer in drawn:
            if not session.affordable():
                self.skipped += 1
                continue
            began = perf_counter()
            logits = session.logits(answer.inputs)
            took = perf_counter() - began
            said.append(replace(answer, version=shadow.number, digest=shadow.digest, logits=logits, seconds=took))
        return said
