import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import export
from pruneguard.pruning.parts import experts
from tests.pruning import networks
from tests.pruning.networks import CLASSES, seeded
from tests.pruning.parts import attentive
from tests.pruning.parts.attentive import TOKENS, WIDTH, answer, feed, unlike, without


def mute(model, groups, chosen):
    """A copy whose routers never choose these experts: their logits are minus infinity."""
    model = copy.deepcopy(model)
    for number, gone in chosen.items():
        router = model.get_submodule(groups[number].observed.module)
        with torch.no_grad():
            router.weight[list(gone)] = 0
            router.bias[list(gone)] = -torch.inf
    return model


class Soft(nn.Module):
    """Every expert answers, by its share; a router of its own adds noise in training; expert 1 has a head start."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(feed() for _ in range(3))
        self.gate = Noisy(3)
        self.start = nn.Parameter(torch.tensor([0.0, 1.0, 0.0]))
        self.register_buffer("loads", torch.zeros(3))

    def forward(self, x):
        share = (self.gate(x) + self.start).softmax(-1)
        return sum(share[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class Noisy(nn.Module):
    def __init__(self, n_experts):
        super().__init__()
        self.n_experts = n_experts
        self.noise = nn.Linear(WIDTH, n_experts)
        self.choose = nn.Linear(WIDTH, n_experts)

    def forward(self, x):
        noise = torch.randn(*x.shape[:-1], self.n_experts) * F.softplus(self.noise(x)) if self.training else 0
        return self.choose(x) + noise


def soft():
    return seeded(lambda: attentive.Classifier(Soft(), attentive.Layer(attentive.Attention(), Soft())))


@pytest.mark.parametrize("build", [attentive.mixture, soft])
@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_network_without_an_expert_answers_as_if_nobody_chose_it(build, gone):
    model = build()
    found = experts.find(model, TOKENS)
    assert len(found.groups) == 2
    assert not found.untouched
    chosen = {0: {gone}, 1: {2}}
    cut = without(model, found.groups, chosen)
    assert unlike(answer(cut), answer(mute(model, found.groups, chosen))) <= 1e-5
    assert unlike(answer(cut), answer(model)) > 1e-4
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_second_round_counts_the_experts_that_are_left():
    model = soft()
    first = experts.find(model, TOKENS).groups
    cut = without(model, first, {0: {0}})
    second = experts.find(cut, TOKENS).groups
    assert [group.width for group in second] == [2, 3]
    again = without(cut, second, {0: {1}})  # the last of three
    assert unlike(answer(again), answer(mute(model, first, {0: {0, 2}}))) <= 1e-5
    found = experts.find(again, TOKENS)
    assert [group.root for group in found.groups] == ["layers.1.feed"]
    assert found.untouched == {"layers.0": "all of its 1 experts answer every row"}


def test_as_many_experts_stay_as_answer_each_row():
    model = attentive.mixture()
    group, _ = experts.find(model, TOKENS).groups
    assert group.least == 2
    cut = without(model, [group], {0: {1, 3}})
    assert cut.layers[0].feed.num_experts == 2
    found = experts.find(cut, TOKENS)
    assert [group.root for group in found.groups] == ["layers.1.feed"]
    assert found.untouched == {"layers.0.feed": "all of its 2 experts answer every row"}


def test_an_expert_owns_its_tensors_and_its_entries_of_the_router_and_the_mixture():
    model = soft()
    group = experts.find(model, TOKENS).groups[0]
    numbers = ((0,), (1,), (2,))
    assert {(s.tensor, s.dim, s.indices) for s in group.owned} == {
        (f"layers.0.{name}", 0, numbers)
        for name in ("start", "loads", "gate.choose.weight", "gate.choose.bias", "gate.noise.weight", "gate.noise.bias")
    }
    assert group.whole[1] == tuple(f"layers.0.experts.1.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    assert (group.observed.module, group.observed.side, group.observed.dim) == ("layers.0.gate.choose", "output", -1)


def test_experts_behind_one_that_left_move_up_with_their_very_parameters():
    model = attentive.mixture()
    before = dict(model.named_parameters())
    experts.reshape(model, {"layers.0.feed": (0, 2)})
    after = dict(model.named_parameters())
    assert len(model.layers[0].feed.experts) == 2
    assert after["layers.0.feed.experts.0.0.weight"] is before["layers.0.feed.experts.1.0.weight"]
    assert after["layers.0.feed.experts.1.2.bias"] is before["layers.0.feed.experts.3.2.bias"]
    assert model.layers[0].feed.top_k == 2


@pytest.mark.parametrize("build", [attentive.mixture, soft])
def test_a_network_without_experts_trains_in_its_own_mode(build):
    model = build().train()
    groups = experts.find(model, TOKENS).groups
    cut = without(model, groups, {0: {0}, 1: {1}})
    assert all(module.training for module in cut.modules())
    F.cross_entropy(cut(torch.from_numpy(TOKENS)), torch.arange(len(TOKENS)) % CLASSES).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in cut.layers.parameters())


@pytest.mark.parametrize("build", [attentive.mixture, soft])
def test_looking_for_experts_changes_nothing(build):
    model = build().train()
    model.last.requires_grad_(requires_grad=False)
    model.embed.eval()
    inside = lambda: [(n, type(m), {k: str(v) for k, v in vars(m).items()}) for n, m in model.named_modules()]  # noqa: E731
    before = inside()
    experts.find(model, TOKENS)
    assert inside() == before


class Fixed(attentive.Mixture):
    """Its forward() knows that there are four."""

    def forward(self, x):
        share = self.router(x).softmax(-1)
        return sum(share[..., i : i + 1] * self.experts[i](x) for i in range(4))


class Linear(attentive.Mixture):
    """Its weights are no softmax."""

    def forward(self, x):
        share = self.router(x).tanh() + 2
        return sum(share[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class Unrouted(nn.Module):
    """Nobody can tell who chooses, or among what."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Fixed, "without its first one, it does not run: IndexError"),
        (Linear, "answers differently than with that one silent; forward() must take"),
        (lambda: attentive.Mixture(top_k=4), "all of its 4 experts answer every row"),
        (
            lambda: Unrouted(experts=nn.ModuleList([feed()] * 4), choose=nn.Linear(WIDTH, 4)),
            "4 experts and no nn.Linear with 4 outputs",
        ),
        (
            lambda: Unrouted(experts=nn.Linear(WIDTH, 4), router=nn.Linear(WIDTH, 4)),
            "its experts are a Linear; make them an nn.ModuleList",
        ),
    ],
)
def test_a_mixture_that_is_not_understood_is_named_with_what_is_missing(build, reason):
    layers = (attentive.Mixture, build)
    model = seeded(lambda: attentive.Classifier(*(attentive.Layer(attentive.Attention(), of()) for of in layers)))
    found = experts.find(model, TOKENS)
    assert [group.root for group in found.groups] == ["layers.0.feed"]
    assert list(found.untouched) == ["layers.1.feed"]
    assert reason in found.untouched["layers.1.feed"]


def test_experts_with_weights_in_common_and_mixtures_that_are_never_called_are_left_alone():
    model = attentive.mixture()
    model.spare = attentive.Mixture()
    tied = model.layers[0].feed.experts
    tied[0][0].weight = tied[2][0].weight
    found = experts.find(model, TOKENS)
    assert [group.root for group in found.groups] == ["layers.1.feed"]
    assert "other layers use layers.0.feed.experts.0.0.weight" in found.untouched["layers.0.feed"]
    assert "never calls it" in found.untouched["spare"]


@pytest.mark.parametrize(("build", "rows"), [(networks.plain, networks.IMAGES), (attentive.written, TOKENS)])
def test_a_network_without_mixtures_has_no_experts(build, rows):
    found = experts.find(build(), rows)
    assert found.groups == ()
    assert found.untouched == {}


def test_a_network_that_does_not_run_is_the_callers_to_mend():
    with pytest.raises(InvalidInputError, match="Classifier does not run on its example rows: RuntimeError"):
        experts.find(attentive.mixture(), TOKENS[:, :3])


def test_a_network_without_experts_is_exported_and_copied():
    model = attentive.mixture()
    groups = experts.find(model, TOKENS).groups
    cut = copy.deepcopy(without(model, groups, {0: {0, 3}, 1: {1}}))
    cut.load_state_dict(cut.state_dict())
    export.to_onnx(cut, TOKENS, classes=CLASSES)  # raises if the file answers differently
