"""What other people's pruning does, and does not do, to the networks of the contest."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.contest.dense import Dense, Task
from benchmarks.peers import environments
from benchmarks.peers.depgraph import TorchPruning
from benchmarks.peers.peer import Unable
from benchmarks.peers.torch_masks import TorchGlobal, TorchStructured
from pruneguard.workload import Snapshot, Split


class Small:
    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def build(self) -> nn.Module:
        return self.network

    def data(self, directory: Path) -> Snapshot:
        raise AssertionError(directory)


class Reader(nn.Module):
    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.recurrent(x)[0].mean(1))


def dense(network: nn.Module, *shape: int) -> Dense:
    """Untrained, with a little data to fine-tune on."""
    random = np.random.default_rng(0)
    rows = Split(random.normal(size=(48, *shape)).astype(np.float32), np.arange(48) % 3)
    task = Task(name="small", folder="small", kind="Small", train_epochs=1, finetune_epochs=1, margin=0.01, seeds=(1,))
    return Dense(
        task=task,
        workload=Small(network),
        snapshot=Snapshot(rows, rows, rows, classes=3),
        directory=Path("nowhere"),
        model=network.eval(),
        onnx=b"",
        seed=1,
        epochs=2,
        seconds=1.0,
    )


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def test_torch_pruning_cuts_a_perceptron_and_leaves_the_dense_network_whole() -> None:
    network = perceptron()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = TorchPruning().prune(dense(network, 8), ratio=0.5)
    assert [layer.out_features for layer in model if isinstance(layer, nn.Linear)] == [16, 16, 3]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_torch_pruning_cannot_prune_recurrent_layers_and_the_row_says_so(kind: type[nn.Module]) -> None:
    with pytest.raises(Unable, match=r"removed nothing|Error"):
        TorchPruning().prune(dense(Reader(kind(4, 16, batch_first=True)), 5, 4), ratio=0.5)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (perceptron, (8,)),
        (lambda: Reader(nn.GRU(4, 16, batch_first=True)), (5, 4)),
        (lambda: Reader(nn.LSTM(4, 8, batch_first=True, bidirectional=True)), (5, 4)),
    ],
    ids=["perceptron", "GRU", "LSTM"],
)
def test_torchs_masks_make_the_asked_share_of_weights_zero(network: object, shape: tuple[int, ...]) -> None:
    start = dense(network(), *shape)  # type: ignore[operator]
    model = TorchGlobal().prune(start, ratio=0.75)
    matrices = [tensor for tensor in model.parameters() if tensor.dim() > 1]
    zeros = sum(int((tensor == 0).sum()) for tensor in matrices) / sum(tensor.numel() for tensor in matrices)
    assert zeros == pytest.approx(0.75, abs=0.01)
    assert set(model.state_dict()) == set(start.model.state_dict())
    assert not any(hasattr(module, "weight_orig") for module in model.modules())


def test_torchs_structured_masks_zero_whole_channels_but_for_the_classifiers() -> None:
    model = TorchStructured().prune(dense(perceptron(), 8), ratio=0.5)
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    assert [int((layer.weight == 0).all(dim=1).sum()) for layer in layers] == [16, 16, 0]


def test_torchs_structured_masks_have_nothing_to_do_in_a_recurrent_network() -> None:
    with pytest.raises(Unable, match="no convolution or linear layer"):
        TorchStructured().prune(dense(Reader(nn.GRU(4, 16, batch_first=True)), 5, 4), ratio=0.5)


def test_what_a_peers_process_said_last_is_the_reason() -> None:
    with pytest.raises(Unable, match="no_such_peer"):
        environments.call(Path(sys.executable), "benchmarks.peers.no_such_peer", [], environment={})


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    home = tmp_path / "peer"
    home.mkdir()
    (home / "packages.txt").write_text("one==1\ntwo==2")
    assert environments.python("peer", ["one==1", "two==2"]) == home / "bin" / "python"
    assert not (home / "bin").exists()


def test_a_package_that_there_is_not_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unable, match="pruneguard-no-such-package"):
        environments.python("peer", ["pruneguard-no-such-package"])
    assert not (tmp_path / "peer" / "packages.txt").exists()
