import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import export
from pruneguard.pruning.parts import attention, blocks, experts
from tests.pruning import networks
from tests.pruning.networks import CLASSES, seeded
from tests.pruning.parts import attentive
from tests.pruning.parts.attentive import EVERY, TOKENS, WIDTH, answer, feed, unlike, without

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own encoder, in eval mode
PADDED = "encoder, padded=True, batch_first=True, norm_first=False"


class Passing(nn.Module):
    """A block that is told to pass on what it gets, as somebody would write it by hand."""

    def __init__(self, block):
        super().__init__()
        self.block = block
        if hasattr(block, "self_attn"):
            self.self_attn = block.self_attn

    def forward(self, x, *beside, **named):
        return x


def passing(model, root, numbers):
    model = copy.deepcopy(model)
    container = model.get_submodule(root)
    for number in numbers:
        container[number] = Passing(container[number])
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return model


@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("name", EVERY)
def test_a_network_without_a_block_answers_as_if_this_passed_on_what_it_gets(name, gone):
    model = EVERY[name]()
    found = blocks.find(model, TOKENS)
    (group,) = found.groups
    assert not found.untouched
    assert group.numbers == tuple((number,) for number in range(group.width))
    cut = without(model, [group], {0: {gone}})
    assert unlike(answer(cut), answer(passing(model, group.root, [gone]))) <= 1e-5
    assert unlike(answer(cut), answer(model)) > 1e-4
    expected = [n for n, _ in model.named_parameters() if not n.startswith(f"{group.root}.{gone}.")]
    assert [n for n, _ in cut.named_parameters()] == expected


def test_blocks_keep_their_numbers_in_a_second_round_and_the_last_one_stays():
    model = attentive.encoder()
    (group,) = blocks.find(model, TOKENS).groups
    assert group.least == 1
    cut = without(model, [group], {0: {1}})
    (left,) = blocks.find(cut, TOKENS).groups
    assert left.numbers == ((0,), (2,))
    assert all(name.startswith("encoder.layers.2.") for name in left.whole[1])
    again = without(cut, [left], {0: {0}})
    assert unlike(answer(again), answer(passing(model, group.root, [0, 1]))) <= 1e-5
    found = blocks.find(again, TOKENS)
    assert found.groups == ()
    assert list(found.untouched) == ["encoder.layers.2"]
    assert "the only block" in found.untouched["encoder.layers.2"]


@pytest.mark.parametrize("name", ["written", PADDED, "decoder"])
def test_looking_for_blocks_changes_nothing(name):
    model = EVERY[name]().train()
    model.last.requires_grad_(requires_grad=False)
    model.embed.eval()
    inside = lambda: [(n, type(m), {k: str(v) for k, v in vars(m).items()}) for n, m in model.named_modules()]  # noqa: E731
    before = inside()
    blocks.find(model, TOKENS)
    assert inside() == before


def test_a_network_without_blocks_trains_in_its_own_mode_and_keeps_the_others_parameters():
    model = attentive.decoder().train()
    kept = {name: p for name, p in model.named_parameters() if not name.startswith("decoder.layers.0.")}
    blocks.reshape(model, {"decoder.layers": (0,)})
    assert all(module.training for module in model.modules())
    assert dict(model.named_parameters()).keys() == kept.keys()
    assert all(model.get_parameter(name) is kept[name] for name in kept)
    F.cross_entropy(model(torch.from_numpy(TOKENS)), torch.arange(len(TOKENS)) % CLASSES).backward()
    assert all(p.grad is not None for p in model.parameters())


class Residual(nn.Module):
    def __init__(self, given, answered):
        super().__init__()
        self.first, self.norm = nn.Conv2d(given, answered, 3, padding=1), nn.BatchNorm2d(answered)
        self.same = given == answered

    def forward(self, x):
        y = self.norm(self.first(x)).relu()
        return x + y if self.same else y


def images():
    """Stages of residual blocks; the first of the second stage doubles the width."""
    stages = nn.Sequential()
    stages.add_module("early", nn.Sequential(Residual(8, 8), Residual(8, 8)))
    stages.add_module("late", nn.Sequential(Residual(8, 16), Residual(16, 16)))
    return nn.Sequential(nn.Conv2d(1, 8, 1), stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))


def test_blocks_of_stages_are_found_and_all_may_leave_where_another_layer_of_the_stage_stays():
    found = blocks.find(seeded(images), networks.IMAGES)
    assert [(g.root, g.numbers, g.least) for g in found.groups] == [
        ("1.early", ((0,), (1,)), 1),
        ("1.late", ((1,),), 0),
    ]
    assert list(found.untouched) == ["1.late.0"]
    assert "answers (6, 16, 8, 8) where it is given (6, 8, 8, 8)" in found.untouched["1.late.0"]


def test_buffers_leave_with_their_block_and_the_network_stays_alive():
    model = seeded(images)
    groups = blocks.find(model, networks.IMAGES).groups
    assert "1.late.1.norm.running_mean" in groups[1].whole[0]
    cut = without(model, groups, {0: {0}, 1: {0}})
    x = torch.from_numpy(networks.IMAGES)
    with torch.no_grad():
        y = model[1].late[0].eval()(model[1].early[1].eval()(model[0](x)))
        assert unlike(cut.eval()(x), model[2:](y)) <= 1e-5


class Named(nn.Sequential):
    """A residual block that is written as a sequence."""

    def forward(self, x):
        return x + super().forward(x)


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList(Named(nn.Linear(5, 5), nn.Sequential(nn.Linear(5, 5), nn.ReLU())) for _ in range(2))

    def forward(self, x):
        for block in self.inner:
            x = block(x)
        return x


def test_the_blocks_of_a_lone_stage_are_the_blocks_and_what_is_in_a_block_is_none():
    found = blocks.find(nn.Sequential(nn.Linear(5, 5), Stage(), nn.Linear(5, CLASSES)), networks.TABLE)
    assert [(group.root, group.numbers) for group in found.groups] == [("1.inner", ((0,), (1,)))]
    assert found.untouched == {}


def test_places_need_numbers():
    named = nn.Sequential()
    for name in ("start", "end"):
        named.add_module(name, Stage())
    found = blocks.find(nn.Sequential(named, nn.Linear(5, CLASSES)), networks.TABLE)
    assert [group.root for group in found.groups] == ["0.start.inner", "0.end.inner"]
    assert "a name instead of a number" in found.untouched["0.start"]


def test_the_network_itself_may_be_the_list():
    model = nn.Sequential(Stage(), Stage(), Stage(), nn.Linear(5, CLASSES))
    (group,) = blocks.find(model, networks.TABLE).groups
    assert (group.root, group.numbers, group.least) == ("", ((0,), (1,), (2,)), 1)
    assert all(name.startswith("1.") for name in group.whole[1])
    cut = without(model, [group], {0: {1}})
    assert {name.partition(".")[0] for name, _ in cut.named_parameters()} == {"0", "2", "3"}


def test_experts_are_no_blocks():
    model = attentive.mixture()
    assert [group.root for group in blocks.find(model, TOKENS).groups] == ["layers"]
    lone = seeded(lambda: attentive.Classifier(attentive.Mixture()))
    found = blocks.find(lone, TOKENS)
    assert found.groups == ()
    assert list(found.untouched) == ["layers.0"]


class Beside(nn.Module):
    """Answers as it is told to."""

    def __init__(self, change):
        super().__init__()
        self.inner = feed()
        self.change = change

    def forward(self, x):
        return self.change(x + self.inner(x))


class Asking(attentive.Classifier):
    """Its forward() deals with each kind of layer in its own way."""

    def forward(self, x):
        x = self.embed(x.unsqueeze(2))
        for layer in self.layers[:2]:
            x = layer(x)
        x = self.layers[2](x)[0]
        x = self.layers[3](x=x)
        x = self.layers[4](x) * self.layers[4].inner[0].weight.sum()
        return self.last(self.layers[6](x).mean(1))


def test_layers_that_are_no_blocks_are_named_with_the_reason():
    same = lambda x: x  # noqa: E731
    changes = [same, same, lambda x: (x, None), same, same, same, lambda x: x[:, 1:]]
    found = blocks.find(seeded(lambda: Asking(*map(Beside, changes))), TOKENS)
    assert [(group.root, group.numbers, group.least) for group in found.groups] == [("layers", ((0,), (1,)), 0)]
    reasons = {
        "layers.2": "it answers a tuple",
        "layers.3": "by position",
        "layers.4": "the network needs it; without, it does not run: AttributeError",
        "layers.5": "never calls it",
        "layers.6": f"it answers (5, 5, {WIDTH}) where it is given (5, 6, {WIDTH})",
    }
    assert found.untouched.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in found.untouched[name]


def test_blocks_with_weights_in_common_are_left_alone():
    model = attentive.encoder()
    layers = model.encoder.layers
    layers[0].linear1.weight = layers[2].linear1.weight
    found = blocks.find(model, TOKENS)
    assert [(group.numbers, group.least) for group in found.groups] == [(((1,),), 0)]
    assert "other layers use encoder.layers.0.linear1.weight" in found.untouched["encoder.layers.0"]


@pytest.mark.parametrize(("build", "rows"), [(networks.plain, networks.IMAGES), (networks.recurrent, networks.TABLE)])
def test_a_network_without_lists_of_blocks_has_none(build, rows):
    found = blocks.find(build(), rows)
    assert found.groups == ()
    assert found.untouched == {}


def test_a_network_that_does_not_run_is_the_callers_to_mend():
    with pytest.raises(InvalidInputError, match="Classifier does not run on its example rows: RuntimeError"):
        blocks.find(attentive.written(), TOKENS[:, :3])


def test_heads_experts_and_blocks_leave_in_one_cut():
    model = attentive.mixture()
    kinds = (attention, experts, blocks)
    groups = [group for kind in kinds for group in kind.find(model, TOKENS).groups]
    cut = without(model, groups, {0: {1}, 1: {2}, 2: {3}, 3: {0}, 4: {1}})
    step = without(model, groups[:1], {0: {1}})
    step = without(step, experts.find(step, TOKENS).groups, {0: {3}})
    step = without(step, blocks.find(step, TOKENS).groups, {0: {1}})
    assert cut.state_dict().keys() == step.state_dict().keys()
    assert unlike(answer(cut), answer(step)) == 0


def test_a_network_without_its_first_block_is_exported_and_copied():
    model = attentive.encoder()
    groups = blocks.find(model, TOKENS).groups
    cut = copy.deepcopy(without(model, groups, {0: {0, 2}}))
    cut.load_state_dict(cut.state_dict())
    export.to_onnx(cut, TOKENS, classes=CLASSES)  # raises if the file answers differently
