"""torch.nn.utils.prune, as its tutorial does it: masks, fine-tuning under them, then `remove`."""

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.contest.dense import Dense
from benchmarks.peers.peer import Unable

Place = tuple[nn.Module, str]


class TorchGlobal:
    """Single weights, the smallest of all layers together."""

    name = "torch.nn.utils.prune global_unstructured"
    ratios = (0.5, 0.75, 0.9)

    def prune(self, dense: Dense, *, ratio: float) -> nn.Module:
        model = copy.deepcopy(dense.model)
        places = list(_weights(model))
        prune.global_unstructured(places, pruning_method=prune.L1Unstructured, amount=ratio)
        return _finished(model, places, dense)


class TorchStructured:
    """Whole output channels become zero; the network keeps its shape. The classifier stays whole."""

    name = "torch.nn.utils.prune ln_structured"
    ratios = (0.3, 0.5, 0.75)

    def prune(self, dense: Dense, *, ratio: float) -> nn.Module:
        model = copy.deepcopy(dense.model)
        places = [place for place in _weights(model) if isinstance(place[0], nn.Linear | nn.Conv2d)][:-1]
        if not places:
            raise Unable("no convolution or linear layer but the classifier")
        for module, name in places:
            prune.ln_structured(module, name, amount=ratio, n=2, dim=0)  # type: ignore[no-untyped-call]
        return _finished(model, places, dense)


def _weights(model: nn.Module) -> Iterator[Place]:
    """Matrices and kernels. Not the output matrix of attention, which is read without a call of its layer, and so
    without the hook that puts the mask on; nor embeddings, which the tutorial does not prune."""
    outputs = {id(each.out_proj) for each in model.modules() if isinstance(each, nn.MultiheadAttention)}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in outputs:
            yield module, "weight"
        elif isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
            yield from ((module, name) for name, _ in list(module.named_parameters()) if name.startswith("weight"))
        elif isinstance(module, nn.MultiheadAttention):
            yield module, "in_proj_weight"


def _finished(model: nn.Module, places: list[Place], dense: Dense) -> nn.Module:
    try:
        dense.finetune(model, epochs=dense.epochs)
        for module, name in places:
            prune.remove(module, name)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            model.eval()(torch.from_numpy(dense.snapshot.train.x[:2]))
    except RuntimeError as error:  # its hooks meet layers that they were not written for
        raise Unable(f"{type(error).__name__}: {error}") from error
    plain = copy.deepcopy(dense.model)  # without what the hooks left behind in recurrent layers
    plain.load_state_dict(model.state_dict())
    return plain
