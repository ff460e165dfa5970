"""Heads of attention (Michel et al. 2019, arXiv 1905.10650; Voita et al. 2019, arXiv 1905.09418).

nn.MultiheadAttention is known, also inside torch's transformer layers. A module of one's own is attention when its
children and attributes bear the names below:

- `PROJECTIONS`: linear layers that make queries, keys and values, apart or several in one; each holds its queries,
  then its keys, then its values, each of them head after head.
- `OUTPUTS`: the linear layer that reads all heads, head after head. It may stand in an nn.Sequential (with a dropout),
  or beside the attention in a module `output`, as in BERT.
- `HEADS`: an attribute with the number of heads. `KEY_HEADS`: that of keys and values, where several heads share one
  (grouped-query attention); these heads leave together.
- `WIDTHS`: attributes that follow the heads where they are as wide as all heads together.

Parameters and buffers of the module itself with one entry for each head (slopes, temperatures) go with the heads.
forward() must take everything else about heads from these: `q.view(b, t, self.heads, -1)`, not `c // self.heads` of
an input that stays as wide as it was. Whether it does is tried: an attention counts only if it answers without a head
as with zeros for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pruneguard.pruning.group import Found, Group, Indices, Observed, Part, Slice
from pruneguard.pruning.parts import trying
from pruneguard.pruning.parts.multihead import PrunedAttention
from pruneguard.pruning.parts.trying import under
from pruneguard.workload import Floats

PROJECTIONS: tuple[Mapping[str, int], ...] = (
    {"q": 1, "k": 1, "v": 1},
    {"q_proj": 1, "k_proj": 1, "v_proj": 1},
    {"query": 1, "key": 1, "value": 1},
    {"queries": 1, "keys": 1, "values": 1},
    {"to_q": 1, "to_k": 1, "to_v": 1},
    {"wq": 1, "wk": 1, "wv": 1},
    {"w_q": 1, "w_k": 1, "w_v": 1},
    {"W_q": 1, "W_k": 1, "W_v": 1},
    {"q_lin": 1, "k_lin": 1, "v_lin": 1},
    {"q_linear": 1, "k_linear": 1, "v_linear": 1},
    {"to_q": 1, "to_kv": 2},
    {"q": 1, "kv": 2},
    {"q_proj": 1, "kv_proj": 2},
    {"qkv": 3},
    {"to_qkv": 3},
    {"qkv_proj": 3},
    {"in_proj": 3},
    {"c_attn": 3},
    {"Wqkv": 3},
)
"""Names of layers, and how many of queries, keys and values each makes."""
OUTPUTS = ("out", "o", "proj", "out_proj", "o_proj", "to_out", "out_lin", "wo", "w_o", "W_o", "c_proj", "dense", "fc")
HEADS = ("heads", "num_heads", "n_heads", "n_head", "h", "nhead", "num_attention_heads")
KEY_HEADS = ("kv_heads", "num_kv_heads", "n_kv_heads", "n_kv_head", "num_key_value_heads")
WIDTHS = ("inner_dim", "inner", "all_head_size", "attn_dim", "d_inner", "d_model", "embed_dim", "n_embd", "hidden_size")
EXPECTED = "forward() must take numbers and widths of heads from the module's attributes, and keep rows head after head"


def find(model: nn.Module, example: Floats) -> Found:
    """One group for each attention: its heads, or the heads that share keys and values.

    What heads say is read at the output projection. nn.MultiheadAttention calls it past its hooks: read it on a copy
    that went through `reshape(copy, {root: ()})`, which answers the same and calls the projection as a module.

    Raises InvalidInputError when the network does not run.
    """
    groups: list[Group] = []
    untouched: dict[str, str] = {}
    tied = trying.shared(model)
    for root, module in model.named_modules():
        found = _written(model, root)
        if isinstance(module, nn.MultiheadAttention | PrunedAttention):
            group: Group | str = _torchs(root, module)
        elif found is None:
            continue
        else:
            group = found if isinstance(found, str) else _group(module, found, model)
        if isinstance(group, Group) and (common := [owned.tensor for owned in group.owned if owned.tensor in tied]):
            group = f"other layers use {', '.join(common)} as well"
        if isinstance(group, str):
            untouched[root] = group
        else:
            groups.append(group)
    scopes = {group.root: (group, _scope(group)) for group in groups}
    for root, fault in trying.refuted(model, example, scopes, silence=_silence, reshape=reshape).items():
        untouched[root] = f"{fault}; {EXPECTED}"
    return Found(tuple(group for group in groups if group.root not in untouched), untouched)


def reshape(model: nn.Module, removed: Mapping[str, Indices]) -> None:
    """Let each attention count the heads that are left. nn.MultiheadAttention becomes a `PrunedAttention`."""
    for root, heads in removed.items():
        module = model.get_submodule(root)
        if isinstance(module, nn.MultiheadAttention):
            place, _, name = root.rpartition(".")
            module = PrunedAttention(module)
            setattr(model.get_submodule(place), name, module)
            trying.without_nesting(model)
        if isinstance(module, PrunedAttention):
            module.num_heads -= len(heads)
            continue
        found = _written(model, root)
        assert isinstance(found, _Written)  # what `find` took for attention, or a network of the same making
        left = found.heads - len(heads)
        inner = _linear(model, found.output).in_features
        for names, whole in ((HEADS, found.heads), (KEY_HEADS, found.parts), (WIDTHS, inner)):
            for name in names:
                if _number(module, name) == whole:
                    setattr(module, name, whole * left // found.heads)


@dataclass(frozen=True, slots=True)
class _Written:
    """An attention of somebody's own. Names are the network's; `parts` is the number of different keys and values."""

    root: str
    projections: Mapping[str, int]
    output: str
    heads: int
    parts: int


def _written(model: nn.Module, root: str) -> _Written | str | None:
    """How a module is attention; or what it lacks, where it looks like one; None where it does not."""
    module = model.get_submodule(root)
    children = dict(module.named_children())
    names = next((names for names in PROJECTIONS if names.keys() <= children.keys()), None)
    if names is None:
        return None
    looks = f"it looks like attention ({', '.join(names)})"
    heads = next((n for name in HEADS if (n := _number(module, name)) is not None), None)
    if heads is None:
        return f"{looks}, but has no number of heads: give it an attribute of one of the names {', '.join(HEADS)}"
    output = _output(model, root)
    if output is None:
        return f"{looks}, but no linear layer that reads its heads: name one {', '.join(OUTPUTS)}"
    layers = {under(root, name): times for name, times in names.items()}
    for name in (*layers, output):
        layer = model.get_submodule(name)
        if not isinstance(layer, nn.Linear) or "weight" not in layer._parameters:
            return f"{looks}, but {name} is a {type(layer).__name__}, not an nn.Linear with a weight of its own"
    parts = next((n for name in KEY_HEADS if (n := _number(module, name)) is not None), heads)
    rows = {_linear(model, name).out_features // times for name, times in layers.items()}
    if parts == heads and len(rows) > 1:
        return f"{looks} with keys narrower than queries, but no number of their heads: {', '.join(KEY_HEADS)}"
    sizes = [_linear(model, output).in_features, *rows]
    if not 0 < parts <= heads or heads % parts or any(size % parts for size in sizes):
        return f"{looks}, but {heads} heads with {parts} keys do not divide its widths {', '.join(map(str, sizes))}"
    if parts == 1:
        return f"{looks} with a single head, or a single key for all heads"
    if parts < heads and max(layers.values()) > 1:
        return f"{looks} whose heads share keys that stand in one layer with others; give keys a layer of their own"
    return _Written(root, layers, output, heads, parts)


def _group(module: nn.Module, found: _Written, model: nn.Module) -> Group:
    heads, parts = found.heads, found.parts
    numbers = _shares(heads, parts)
    owned = [
        Slice(under(found.root, name), tensor.shape.index(heads), numbers)
        for name, tensor in module.state_dict().items()
        if "." not in name and list(tensor.shape).count(heads) == 1
    ]
    for name, times in found.projections.items():
        layer = _linear(model, name)
        rows = _shares(layer.out_features, parts, times)
        owned += [
            Slice(f"{name}.{tensor}", 0, rows) for tensor in layer._parameters if layer._parameters[tensor] is not None
        ]
    return _grouped(found.root, numbers, owned, found.output, _shares(_linear(model, found.output).in_features, parts))


def _torchs(root: str, module: nn.MultiheadAttention | PrunedAttention) -> Group | str:
    if isinstance(module, nn.MultiheadAttention):
        if type(module) is not nn.MultiheadAttention:
            return f"it is a {type(module).__name__}, whose forward() may be another than nn.MultiheadAttention's"
        if not module._qkv_same_embed_dim:
            return "its keys or values have widths of their own (kdim, vdim)"
        if module.bias_k is not None or module.add_zero_attn:
            return "it adds a key that is no row of its projections (add_bias_kv, add_zero_attn)"
    if module.num_heads == 1:
        return "it has a single head"
    heads = module.num_heads
    rows = _shares(len(module.in_proj_weight), heads, 3)
    owned = [Slice(under(root, "in_proj_weight"), 0, rows)]
    if module.in_proj_bias is not None:
        owned.append(Slice(under(root, "in_proj_bias"), 0, rows))
    columns = _shares(module.out_proj.in_features, heads)
    return _grouped(root, _shares(heads, heads), owned, under(root, "out_proj"), columns)


def _grouped(
    root: str, numbers: tuple[Indices, ...], owned: Sequence[Slice], output: str, columns: tuple[Indices, ...]
) -> Group:
    return Group(
        part=Part.HEADS,
        root=root,
        numbers=numbers,
        owned=(*owned, Slice(f"{output}.weight", 1, columns)),
        observed=Observed(output, "input", -1, columns),
    )


def _shares(size: int, parts: int, times: int = 1) -> tuple[Indices, ...]:
    """What each part has of `size` entries, where all parts stand side by side, `times` over."""
    every, one = size // times, size // (times * parts)
    return tuple(
        tuple(start + part * one + entry for start in range(0, size, every) for entry in range(one))
        for part in range(parts)
    )


def _silence(model: nn.Module, group: Group) -> None:
    """Nobody hears the first head."""
    assert group.observed is not None
    with torch.no_grad():
        _linear(model, group.observed.module).weight[:, group.observed.indices[0]] = 0


def _scope(group: Group) -> str:
    """The module that an attention and its output projection are both in."""
    assert group.observed is not None
    inside = group.observed.module.startswith(under(group.root, ""))
    return group.root if inside else group.root.rpartition(".")[0]


def _output(model: nn.Module, root: str) -> str | None:
    """The layer that reads the heads; of an nn.Sequential, its only linear layer."""
    beside = under(root.rpartition(".")[0], "output")
    for place in (root, beside) if root else (root,):
        try:
            children = dict(model.get_submodule(place).named_children())
        except AttributeError:  # no module of that name
            continue
        for name in OUTPUTS:
            layer = children.get(name)
            if isinstance(layer, nn.Sequential):
                linear = [step for step, part in layer.named_children() if isinstance(part, nn.Linear)]
                if len(linear) == 1:
                    return under(place, f"{name}.{linear[0]}")
            elif layer is not None:
                return under(place, name)
    return None


def _number(module: nn.Module, name: str) -> int | None:
    value = vars(module).get(name)
    return value if type(value) is int else None


def _linear(model: nn.Module, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer
