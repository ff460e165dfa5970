import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import export
from pruneguard.pruning.parts import attention
from pruneguard.pruning.parts.multihead import PrunedAttention
from tests.pruning import networks
from tests.pruning.networks import CLASSES, seeded
from tests.pruning.parts import attentive
from tests.pruning.parts.attentive import EVERY, TOKENS, WIDTH, answer, unlike, without

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own encoder, in eval mode


def silenced(model, groups, chosen):
    """A copy in which nobody reads what the chosen heads say."""
    model = copy.deepcopy(model)
    attention.reshape(model, {group.root: () for group in groups})  # the same path through torch as the cut network
    with torch.no_grad():
        for number, parts in chosen.items():
            for part in parts:
                seen = groups[number].observed
                model.get_submodule(seen.module).weight[:, seen.indices[part]] = 0
    return model


def some(groups):
    """The second part of each group, and the last where there are more than two."""
    return {number: {1, group.width - 1} for number, group in enumerate(groups)}


@pytest.mark.parametrize("name", EVERY)
def test_a_network_without_heads_answers_as_if_these_said_nothing(name):
    model = EVERY[name]()
    found = attention.find(model, TOKENS)
    assert len(found.groups) >= 2
    assert not found.untouched
    chosen = some(found.groups)
    cut = without(model, found.groups, chosen)
    assert unlike(answer(cut), answer(silenced(model, found.groups, chosen))) <= 1e-5
    assert unlike(answer(cut), answer(model)) > 1e-3
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_a_second_round_finds_the_heads_that_are_left(name):
    model = EVERY[name]()
    first = attention.find(model, TOKENS).groups
    chosen = dict.fromkeys(range(len(first)), (0,))
    cut = without(model, first, chosen)
    second = list(attention.find(cut, TOKENS).groups)
    assert [g.width for g in second] == [g.width - 1 for g in first if g.width > 2]
    if second:  # the first of those left was the second before
        again = without(cut, second, chosen)
        expected = silenced(model, first, dict.fromkeys(range(len(first)), (0, 1)))
        assert unlike(answer(again), answer(expected)) <= 1e-5


@pytest.mark.parametrize("name", ["fused", "encoder, padded=True, batch_first=True, norm_first=False", "decoder"])
def test_a_network_without_heads_trains_in_its_own_mode(name):
    model = EVERY[name]().train()
    groups = attention.find(model, TOKENS).groups
    cut = without(model, groups, some(groups))
    assert all(module.training for module in cut.modules())
    F.cross_entropy(cut(torch.from_numpy(TOKENS)), torch.arange(len(TOKENS)) % CLASSES).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in cut.parameters())
    before = answer(cut)
    with torch.no_grad():
        for parameter in cut.parameters():
            parameter -= 0.1 * parameter.grad
    assert unlike(answer(cut), before) > 1e-3


@pytest.mark.parametrize("name", EVERY)
def test_looking_for_heads_changes_nothing(name):
    model = EVERY[name]().train()
    model.last.requires_grad_(requires_grad=False)
    model.embed.eval()
    before = _inside(model)
    attention.find(model, TOKENS)
    assert _inside(model) == before


def _inside(model):
    return [
        (name, type(module), {key: str(value) for key, value in vars(module).items()})
        for name, module in model.named_modules()
    ]


@pytest.mark.parametrize("name", ["written", "shared keys", "encoder, padded=True, batch_first=True, norm_first=False"])
def test_reshaping_keeps_the_very_parameters_under_their_names(name):
    model = EVERY[name]()
    before = dict(model.named_parameters())
    groups = attention.find(model, TOKENS).groups
    attention.reshape(model, {group.root: group.numbers[0] for group in groups})
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


def test_every_head_owns_its_rows_of_queries_keys_and_values_and_its_columns_of_the_output():
    group, _ = attention.find(attentive.written(attentive.FusedAttention, attentive.Bert), TOKENS).groups
    owned = {(s.tensor.removeprefix("layers.0.attention."), s.dim): s.indices for s in group.owned}
    rows = lambda head: tuple(start + 4 * head + entry for start in (0, 12, 24) for entry in range(4))  # noqa: E731
    columns = ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))
    assert owned == {
        ("to_qkv.weight", 0): (rows(0), rows(1), rows(2)),
        ("temperature", 0): ((0,), (1,), (2,)),
        ("to_out.0.weight", 1): columns,
    }
    assert group.numbers == ((0,), (1,), (2,))
    assert (group.observed.module, group.observed.indices) == ("layers.0.attention.to_out.0", columns)


def test_heads_that_share_keys_leave_together():
    model = attentive.written(attentive.SharedKeys)
    (group,) = attention.find(model, TOKENS).groups
    assert group.numbers == ((0, 1), (2, 3))
    cut = without(model, [group], {0: (0,)}).layers[0].attention
    assert (cut.n_heads, cut.n_kv_heads, cut.wq.out_features, cut.wk.out_features, cut.wo.in_features) == (
        2,
        1,
        8,
        4,
        8,
    )


def test_what_heads_of_torchs_attention_say_is_read_once_it_is_reshaped_without_any_leaving():
    model = attentive.encoder().eval()
    groups = attention.find(model, TOKENS).groups
    watched = copy.deepcopy(model)
    attention.reshape(watched, {group.root: () for group in groups})
    assert unlike(answer(watched), answer(model)) <= 1e-5
    seen = []
    for group in groups:
        watched.get_submodule(group.observed.module).register_forward_pre_hook(
            lambda module, args: seen.append(args[0].shape)
        )
    answer(watched)
    assert seen == [(len(TOKENS), TOKENS.shape[1], WIDTH)] * 3


OPTIONS = [
    pytest.param(*options, id=f"{'batch' if options[0] else 'length'} first, bias {options[1]}, {options[2]}")
    for options in itertools.product((True, False), (True, False), ("self", "cross", "single"))
]


@pytest.mark.parametrize(("batch_first", "bias", "kind"), OPTIONS)
@pytest.mark.parametrize("masks", ["none", "padding", "square", "each", "causal", "square and padding", "added"])
def test_the_replacement_answers_as_torchs_attention_in_every_way_it_can_be_asked(batch_first, bias, kind, masks):
    torchs = seeded(lambda: nn.MultiheadAttention(12, 3, bias=bias, batch_first=batch_first))
    ours = PrunedAttention(torchs)
    generator = torch.Generator().manual_seed(4)
    rows, queries, keys = 2, 5, 7 if kind == "cross" else 5

    def given(length):
        x = torch.randn(rows, length, 12, generator=generator)
        return x[0] if kind == "single" else x if batch_first else x.transpose(0, 1)

    q = given(queries)
    k, v = (given(keys), given(keys)) if kind == "cross" else (q, q)
    square = torch.ones(queries, keys, dtype=torch.bool).triu(1)
    padding = torch.zeros(rows, keys, dtype=torch.bool)
    padding[:, -1] = True
    padding = padding[0] if kind == "single" else padding
    heads = torch.randn((1 if kind == "single" else rows) * 3, queries, keys, generator=generator)
    options = {
        "none": {},
        "padding": {"key_padding_mask": padding},
        "square": {"attn_mask": square},
        "each": {"attn_mask": heads > 1},
        "causal": {"attn_mask": square, "is_causal": True},
        "square and padding": {"attn_mask": square, "key_padding_mask": padding},
        "added": {"attn_mask": heads, "key_padding_mask": padding * -2.0},
    }[masks]
    for need_weights, average in ((True, True), (True, False), (False, True)):
        asked = {"need_weights": need_weights, "average_attn_weights": average}
        expected, weights = torchs(q, k, v, **options, **asked)
        found, ours_weights = ours(q, k, v, **options, **asked)
        assert unlike(found, expected) <= 1e-6
        assert (ours_weights is None) == (weights is None) == (not need_weights)
        assert weights is None or unlike(ours_weights, weights) <= 1e-6


@pytest.mark.parametrize("need_weights", [True, False])
def test_the_replacement_drops_out_in_training_only_and_as_often_as_torchs(need_weights):
    torchs = nn.MultiheadAttention(12, 3, dropout=0.5, batch_first=True)
    ours = PrunedAttention(torchs)
    x = torch.randn(4, 9, 12)

    def drawn(module):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(6)
            return module(x, x, x, need_weights=need_weights)[0]

    assert unlike(drawn(ours), drawn(torchs)) <= 1e-6
    assert unlike(drawn(ours), drawn(ours.eval())) > 1e-2
    assert PrunedAttention(torchs.eval()).training is False


def test_a_causal_hint_without_a_mask_is_refused_as_by_torch():
    ours = PrunedAttention(nn.MultiheadAttention(12, 3, batch_first=True))
    with pytest.raises(RuntimeError, match="give the mask"):
        ours(*[torch.randn(1, 2, 12)] * 3, is_causal=True)


def test_a_mask_for_each_head_is_one_for_each_head_that_is_left():
    model = nn.Sequential(nn.MultiheadAttention(12, 3, batch_first=True))
    attention.reshape(model, {"0": (1,)})
    with pytest.raises(RuntimeError):
        model[0](*[torch.randn(1, 4, 12)] * 3, attn_mask=torch.zeros(3, 4, 4))


class Nano(attentive.Attention):
    """Takes the width of a head from the input's, as many tutorials do."""

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (each(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for each in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))


class Interleaved(attentive.FusedAttention):
    """Each head's queries, keys and values stand together."""

    def forward(self, x):
        q, k, v = self.to_qkv(x).unflatten(-1, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Scaled(attentive.Attention):
    """Its scale depends on the number of heads."""

    def forward(self, x):
        return super().forward(x) / self.heads


class Unlike(nn.Module):
    """Looks like attention, and is not enough of one."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return x


class Own(nn.MultiheadAttention):
    pass


class SelfAttending(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.inner = attention

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


def linear(rows=WIDTH):
    return nn.Linear(WIDTH, rows)


def three(rows=WIDTH):
    return {"q": linear(), "k": linear(rows), "v": linear(rows)}


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Nano, r"does not run: RuntimeError.* forward\(\) must take"),
        (Interleaved, "answers differently .* head after head"),
        (Scaled, "answers differently"),
        (lambda: attentive.Attention(heads=1), "a single head"),
        (lambda: Unlike(**three(), out=linear()), "no number of heads: give it .* num_heads"),
        (lambda: Unlike(**three(), heads=4), "no linear layer that reads its heads: name one out"),
        (lambda: Unlike(**three(8), heads=4, out=linear()), "keys narrower than queries.* num_kv_heads"),
        (lambda: Unlike(**three(), heads=3, out=linear()), "3 heads with 3 keys do not divide its widths 16, 16"),
        (lambda: Unlike(qkv=nn.Conv1d(16, 48, 1), heads=4, out=linear()), "qkv is a Conv1d, not an nn.Linear"),
        (lambda: Unlike(q=linear(), kv=linear(16), heads=4, kv_heads=2, out=linear()), "a layer of their own"),
    ],
)
def test_attention_that_is_not_understood_is_named_with_what_is_missing(build, reason):
    model = attentive.written(attentive.Attention, build)
    found = attention.find(model, TOKENS)
    assert [group.root for group in found.groups] == ["layers.0.attention"]
    assert list(found.untouched) == ["layers.1.attention"]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.untouched["layers.1.attention"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kdim": 16, "vdim": 16, "num_heads": 1}, "a single head"),
        ({"add_bias_kv": True}, "adds a key"),
        ({"add_zero_attn": True}, "adds a key"),
    ],
)
def test_torchs_attention_with_keys_of_another_kind_is_left_alone(options, reason):
    build = lambda: nn.MultiheadAttention(**{"embed_dim": WIDTH, "num_heads": 4, "batch_first": True} | options)  # noqa: E731
    found = attention.find(seeded(lambda: attentive.Classifier(SelfAttending(build()))), TOKENS)
    assert not found.groups
    assert reason in found.untouched["layers.0.inner"]


def test_widths_of_keys_a_subclass_and_a_layer_that_is_never_called_are_reasons():
    model = attentive.written()
    model.other = nn.MultiheadAttention(WIDTH, 4, kdim=3)
    model.own = Own(WIDTH, 4)
    model.spare = nn.MultiheadAttention(WIDTH, 4)
    found = attention.find(model, TOKENS)
    assert [group.root for group in found.groups] == ["layers.0.attention", "layers.1.attention"]
    assert "kdim" in found.untouched["other"]
    assert "a Own" in found.untouched["own"]
    assert "never calls it" in found.untouched["spare"]


def test_heads_whose_weights_other_layers_use_are_left_alone():
    model = attentive.written()
    model.layers[0].attention.k.weight = model.layers[1].attention.k.weight
    found = attention.find(model, TOKENS)
    assert not found.groups
    assert "other layers use layers.0.attention.k.weight" in found.untouched["layers.0.attention"]


def test_weights_that_are_computed_are_not_cut():
    model = attentive.written()
    nn.utils.parametrizations.weight_norm(model.layers[0].attention.q)
    found = attention.find(model, TOKENS)
    assert [group.root for group in found.groups] == ["layers.1.attention"]
    assert "with a weight of its own" in found.untouched["layers.0.attention"]


@pytest.mark.parametrize("build", [networks.plain, networks.residual])
def test_a_network_without_attention_has_no_heads(build):
    found = attention.find(build(), networks.IMAGES)
    assert found.groups == ()
    assert found.untouched == {}


def test_a_network_that_does_not_run_is_the_callers_to_mend():
    with pytest.raises(InvalidInputError, match="Classifier does not run on its example rows: RuntimeError"):
        attention.find(attentive.written(), TOKENS[:, :3])


@pytest.mark.parametrize(
    "build", [attentive.encoder, lambda: attentive.written(attentive.FusedAttention, attentive.SharedKeys)]
)
def test_a_network_without_heads_is_exported_after_two_rounds_and_a_copy(build):
    model = build()
    groups = attention.find(model, TOKENS).groups
    cut = without(model, groups, dict.fromkeys(range(len(groups)), (0,)))
    cut = without(cut, attention.find(cut, TOKENS).groups, {0: (0,)})
    again = copy.deepcopy(cut)
    again.load_state_dict(cut.state_dict())
    export.to_onnx(again, TOKENS, classes=CLASSES)  # raises if the file answers differently
    assert unlike(answer(again), answer(cut)) == 0
