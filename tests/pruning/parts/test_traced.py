"""Where the graph is right, channels leave exactly; where it is wrong, the layer stays and says so."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import parts, surgery, weights
from pruneguard.pruning.parts import traced
from pruneguard.pruning.parts.multihead import PrunedAttention
from tests.pruning import networks
from tests.pruning.networks import CLASSES, IMAGES, TABLE


class Net(nn.Module):
    """Layers by name, and what forward() does with them."""

    def __init__(self, forward, /, **layers):
        super().__init__()
        self.does = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.does(self, x)


def net(forward, **layers):
    return Net(forward, **layers)


def widths(found):
    return {group.root: group.width for group in found.groups}


def without(model, groups, chosen):
    pruned, _ = parts.cut(
        model, removed=surgery.removal(groups, chosen), kept=surgery.consequence(model, groups, chosen)
    )
    return pruned


def silenced(model, groups, chosen):
    """The same network with zeros in every entry that the chosen parts own."""
    tensors = model.state_dict()
    for number, gone in chosen.items():
        for owned in groups[number].owned:
            for part in gone:
                tensors[owned.tensor].index_fill_(owned.dim, torch.tensor(owned.indices[part], dtype=torch.long), 0)
    return model


def answers(model, rows):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(rows))


def transposed():
    return net(
        lambda m, x: m.last(m.c(torch.relu(m.up(torch.relu(m.a(x))))).mean((2, 3))),
        a=nn.Conv2d(1, 8, 3),
        up=nn.ConvTranspose2d(8, 12, 2, stride=2),
        c=nn.Conv2d(12, 8, 1),
        last=nn.Linear(8, CLASSES),
    )


def transposed_in_groups():
    model = transposed()
    model.up = nn.ConvTranspose2d(8, 12, 2, stride=2, groups=2)
    return model


def squeeze_and_excite():
    def forward(m, x):
        x = torch.relu(m.a(x))
        gate = torch.sigmoid(m.up(torch.relu(m.down(x.mean((2, 3))))))
        return m.last((x * gate[:, :, None, None]).mean((2, 3)))

    return net(forward, a=nn.Conv2d(1, 16, 3), down=nn.Linear(16, 4), up=nn.Linear(4, 16), last=nn.Linear(16, CLASSES))


def words():
    def forward(m, x):
        return m.last(m.slope(m.norm((m.table((x * 9).long()) + m.line(x[..., None])).transpose(1, 2))).mean(2))

    return net(
        forward,
        table=nn.Embedding(10, 12),
        line=nn.Linear(1, 12),
        norm=nn.BatchNorm1d(12),
        slope=nn.PReLU(12),
        last=nn.Linear(12, CLASSES),
    )


def gated():
    """One layer makes both a value and its gate: channel p only leaves with channel p + 8."""

    def forward(m, x):
        value, gate = m.a(x).chunk(2, 1)
        return m.last((value * torch.sigmoid(gate)).mean((2, 3)))

    return net(forward, a=nn.Conv2d(1, 16, 3), last=nn.Linear(8, CLASSES))


def reused():
    return net(
        lambda m, x: m.last(torch.relu(m.again(torch.relu(m.again(torch.relu(m.first(x))))))),
        first=nn.Linear(5, 16),
        again=nn.Linear(16, 16),
        last=nn.Linear(16, CLASSES),
    )


def scaled():
    """A parameter that belongs to no layer, as wide as the channels it scales."""
    return net(
        lambda m, x: m.last((m.stem(x) * m.scale).mean((2, 3))),
        stem=nn.Conv2d(1, 16, 3),
        scale=nn.Parameter(torch.rand(16, 1, 1)),
        last=nn.Linear(16, CLASSES),
    )


EXACT = {
    "plain": (networks.plain, IMAGES, {"0": 16, "3": 32}),
    "residual": (networks.residual, IMAGES, {"stem": 16, "side": 24, "mix": 8, "grouped": 8}),
    "transposed": (transposed, IMAGES, {"a": 8, "up": 12, "c": 8}),
    "transposed in groups": (transposed_in_groups, IMAGES, {"a": 4, "up": 6, "c": 8}),
    "squeeze and excite": (squeeze_and_excite, IMAGES, {"a": 16, "down": 4}),
    "words": (words, TABLE, {"line": 12}),
    "gated": (gated, IMAGES, {"a": 8}),
    "reused": (reused, TABLE, {"first": 16}),
    "scaled": (scaled, IMAGES, {"stem": 16}),
    "transformer": (networks.transformer, TABLE, {"encoder.linear1": 32}),
}


@pytest.mark.parametrize(("build", "rows", "expected"), EXACT.values(), ids=EXACT)
def test_what_leaves_is_as_if_it_had_been_zero(build, rows, expected):
    model = networks.seeded(build)
    with torch.no_grad():  # no norm may pass because its buffers still are what they began as
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(len(name))) + 0.5)
    groups = traced.channels(model, rows).groups
    assert {group.root: group.width for group in groups} == expected
    assert all(group.padded for group in groups)
    chosen = {number: range(0, group.width, 3) for number, group in enumerate(groups)}
    pruned = without(model, groups, chosen)
    torch.testing.assert_close(answers(pruned, rows), answers(silenced(model, groups, chosen), rows))


def test_what_is_left_can_be_cut_again():
    model = networks.residual()
    groups = traced.channels(model, IMAGES).groups
    pruned = without(model, groups, dict.fromkeys(range(len(groups)), (1, 2, 5)))
    assert widths(traced.channels(pruned, IMAGES)) == {group.root: group.width - 3 for group in groups}


def test_grouped_convolutions_lose_one_position_in_every_group():
    model = networks.residual()
    found = traced.channels(model, IMAGES)
    number = next(n for n, group in enumerate(found.groups) if group.root == "mix")
    assert found.groups[number].numbers == tuple((p, p + 8) for p in range(8))
    pruned = without(model, found.groups, {number: (0, 3)})
    assert (pruned.mix.out_channels, pruned.grouped.groups, pruned.grouped.in_channels) == (12, 2, 12)
    assert torch.equal(pruned.grouped.weight, model.grouped.weight[:, [1, 2, 4, 5, 6, 7]])
    assert surgery.removal(found.groups, {number: (0, 3)}) == {"channels": {"mix": (0, 3, 8, 11)}}


def test_convolutions_of_two_groupings_lose_what_both_can_lose():
    model = net(
        lambda m, x: m.last(m.b(m.a(x)).mean((2, 3)) + m.c(m.a(x)).mean((2, 3))),
        a=nn.Conv2d(1, 24, 1),
        b=nn.Conv2d(24, 12, 1, groups=2),
        c=nn.Conv2d(24, 12, 1, groups=3),
        last=nn.Linear(12, CLASSES),
    )
    first = traced.channels(model, IMAGES).groups[0]
    assert first.numbers == tuple(tuple(range(p, 24, 4)) for p in range(4))  # 4 divides 24 / 2 and 24 / 3


@pytest.mark.parametrize(
    ("norm", "width"), [(nn.GroupNorm(4, 16), 4), (nn.GroupNorm(1, 16), 16)], ids=["4 groups", "1 group"]
)
def test_a_norm_across_channels_is_cut_evenly_and_never_padded(norm, width):
    model = net(
        lambda m, x: m.last(torch.relu(m.norm(m.a(x))).mean((2, 3))),
        a=nn.Conv2d(1, 16, 3),
        norm=norm,
        last=nn.Linear(16, CLASSES),
    )
    (group,) = traced.channels(model, IMAGES).groups
    assert (group.width, group.padded) == (width, False)
    pruned = without(model, [group], {0: (0,)})
    assert pruned.norm.num_channels == 16 - 16 // width
    assert answers(pruned, IMAGES).shape == (6, CLASSES)


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_layer_norms_follow_and_are_not_padded(kind):
    model = nn.Sequential(nn.Linear(5, 16), kind(16), nn.ReLU(), nn.Linear(16, CLASSES))
    (group,) = traced.neurons(model, TABLE).groups
    pruned = without(model, [group], {0: (2, 9)})
    assert (group.width, group.padded) == (16, False)
    assert pruned[1].normalized_shape == (14,)
    assert torch.equal(pruned[3].weight, model[3].weight[:, [i for i in range(16) if i not in (2, 9)]])


def test_neurons_are_those_of_linear_layers_alone():
    assert widths(traced.neurons(networks.table(), TABLE)) == {"0": 32, "3": 16}
    assert widths(traced.neurons(networks.transformer(), TABLE)) == {"encoder.linear1": 32}
    found = traced.neurons(networks.seeded(squeeze_and_excite), IMAGES)
    assert widths(found) == {"down": 4}
    assert found.untouched["up"] == "a is a convolution: prune channels"


def test_what_the_parts_compute_can_be_read_where_they_say():
    model = networks.plain()
    first = traced.channels(model, IMAGES).groups[0]
    seen = []
    model.get_submodule(first.observed.module).register_forward_hook(lambda m, args, output: seen.append(output))
    before, after = answers(model, IMAGES), answers(silenced(model, [first], {0: (3,)}), IMAGES)
    assert first.observed.indices == first.numbers
    assert seen[0].select(first.observed.dim, 3).abs().max() > 0
    assert seen[1].select(first.observed.dim, 3).abs().max() == 0
    assert not torch.equal(before, after)


class Encoder(nn.Module):
    """Hand-written attention; `heads` channels of it belong together, whatever the graph says."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(1, 16)
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.wide, self.narrow, self.last = nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.embed(x.unsqueeze(2))
        q, k, v = (part(x).unflatten(2, (2, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        weight = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, -1)
        x = x + self.out((weight @ v).transpose(1, 2).flatten(2))
        return self.last((x + self.narrow(F.gelu(self.wide(x)))).mean(1))


def test_attention_is_left_to_the_pruning_of_heads():
    found = traced.neurons(networks.seeded(Encoder), TABLE)
    assert widths(found) == {"embed": 16, "wide": 24}
    assert found.untouched.keys() == {"q", "k", "v", "last"}
    assert {found.untouched[name] for name in "qkv"} == {"attention: prune heads"}


def test_a_multihead_attention_and_the_stream_into_it_stay_by_name():
    found = traced.channels(networks.transformer(), TABLE)
    assert found.untouched == {
        "embed": "encoder.self_attn reads it, and what goes into that stays",
        "encoder.self_attn": "attention: prune heads",
        "encoder.linear2": "encoder.self_attn reads it, and what goes into that stays",
        "last": "it gives the answer of the network",
    }


def test_an_attention_that_lost_heads_is_looked_at_as_before():
    model = networks.transformer()
    whole = traced.channels(model, TABLE)
    model.encoder.self_attn = PrunedAttention(model.encoder.self_attn)
    assert traced.channels(model, TABLE) == whole


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "two both ways"])
def test_before_and_behind_recurrent_layers_everything_else_is_found(kind, options):
    def forward(m, x):
        state, _ = m.recurrent(torch.relu(m.second(torch.relu(m.first(x[:, None])))).transpose(1, 2))
        return m.last(torch.relu(m.wide(state[:, -1])))

    recurrent = kind(12, 8, batch_first=True, **options)
    model = net(
        forward,
        first=nn.Conv1d(1, 8, 3, padding=1),
        second=nn.Conv1d(8, 12, 3, padding=1),
        recurrent=recurrent,
        wide=nn.Linear(16 if options else 8, 32),
        last=nn.Linear(32, CLASSES),
    )
    found = traced.channels(model, TABLE)
    assert widths(found) == {"first": 8, "wide": 32}
    assert found.untouched["recurrent"] == "recurrent: prune units"
    assert found.untouched["second"] == "recurrent reads it, and what goes into that stays"


def test_a_packed_sequence_is_no_stop():
    def forward(m, x):
        lengths = torch.full((len(x),), 5)
        packed = nn.utils.rnn.pack_padded_sequence(m.into(x[:, :, None]), lengths, batch_first=True)
        state, _ = nn.utils.rnn.pad_packed_sequence(m.recurrent(packed)[0], batch_first=True)
        return m.last(torch.relu(m.wide(state[:, -1])))

    model = net(
        forward,
        into=nn.Linear(1, 8),
        recurrent=nn.GRU(8, 16, batch_first=True),
        wide=nn.Linear(16, 32),
        last=nn.Linear(32, CLASSES),
    )
    assert widths(traced.neurons(model, TABLE)) == {"wide": 32}


def misread(forward, **layers):
    return net(forward, **layers, last=nn.Linear(16, CLASSES))


MISREAD = {
    "a width in forward": (
        lambda: misread(lambda m, x: m.last(m.a(x).view(-1, 16)), a=nn.Linear(5, 16)),
        "does not run any more",
    ),
    "a mean over channels": (
        lambda: misread(lambda m, x: m.last(m.a(x) - m.a(x).mean(1, keepdim=True)), a=nn.Linear(5, 16)),
        "takes a mean over them",
    ),
    "places that are counted": (
        lambda: misread(lambda m, x: m.last(m.a(x) * torch.arange(m.a(x).shape[1])), a=nn.Linear(5, 16)),
        "counts on their places",
    ),
    "a softmax over channels": (
        lambda: misread(lambda m, x: m.last(torch.softmax(m.a(x), 1)), a=nn.Linear(5, 16)),
        "answers otherwise",
    ),
    "several channels to one": (
        lambda: net(
            lambda m, x: m.last(m.b(m.a(x)).mean((2, 3))),
            a=nn.Conv2d(1, 16, 3),
            b=nn.Conv2d(16, 8, 3, groups=8),
            last=nn.Linear(8, CLASSES),
        ),
        "each group of b makes one channel out of several",
    ),
    "a norm for each channel": (
        lambda: misread(lambda m, x: m.last(m.n(m.a(x)).mean((2, 3))), a=nn.Conv2d(1, 16, 3), n=nn.GroupNorm(16, 16)),
        "can only leave all together",
    ),
    "a skip from the input": (
        lambda: net(lambda m, x: m.last(x + m.a(x)), a=nn.Linear(5, 5), last=nn.Linear(5, CLASSES)),
        "does not run any more",
    ),
    "no part in the answer": (
        lambda: net(lambda m, x: m.last(x) if len(x) else m.a(x), a=nn.Linear(5, 16), last=nn.Linear(5, CLASSES)),
        "no part in the answer",
    ),
}


@pytest.mark.parametrize(("build", "reason"), MISREAD.values(), ids=MISREAD)
def test_a_layer_that_the_graph_misreads_stays_and_says_why(build, reason):
    model = networks.seeded(build)
    found = traced.channels(model, IMAGES if isinstance(model.a, nn.Conv2d) else TABLE)
    assert found.groups == ()
    assert reason in found.untouched["a"]


def test_the_network_is_left_exactly_as_it_was():
    model = networks.plain().train().to(memory_format=torch.channels_last)
    model[4].eval()
    model[0].weight.requires_grad_(False)
    model.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    before, rows = weights.dump(model), IMAGES.copy()
    found = traced.channels(model, rows)
    assert widths(found) == {"0": 16, "3": 32}  # frozen layers and channels_last are seen too
    assert weights.dump(model) == before
    assert [module.training for module in model.modules()] == modes
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_rows_that_forward_works_on_in_place_are_left_as_they_were():
    rows = TABLE.copy()
    model = net(lambda m, x: m.last(torch.relu(m.a(x.mul_(2)))), a=nn.Linear(5, 8), last=nn.Linear(8, CLASSES))
    assert widths(traced.neurons(model, rows)) == {"a": 8}
    assert np.array_equal(rows, TABLE)


def test_the_same_network_gives_the_same_groups_whatever_was_looked_at_before():
    alone = traced.channels(networks.residual(), IMAGES)
    traced.channels(networks.transformer(), TABLE)
    assert traced.channels(networks.residual(), IMAGES) == alone


def test_the_only_layer_gives_the_answer():
    found = traced.channels(nn.Linear(5, 32), TABLE)
    assert (found.groups, found.untouched) == ((), {"": "it gives the answer of the network"})


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Conv2d(3, 4, 1), "Expected 3D"),
        (net(lambda m, x: (m.a(x),), a=nn.Linear(5, 3)), "no tensor that its weights have a part in"),
        (net(lambda m, x: m.a(x).detach(), a=nn.Linear(5, 3)), "no tensor that its weights have a part in"),
    ],
    ids=["fails on the rows", "answers with a tuple", "hides its gradients"],
)
def test_a_network_that_cannot_be_looked_into_is_refused(model, found):
    with pytest.raises(InvalidInputError, match=f"cannot be traced for pruning.*{found}"):
        traced.channels(model, TABLE)
