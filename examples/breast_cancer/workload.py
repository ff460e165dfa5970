"""Tumours told apart by 30 measured features: a table, for whoever starts from one. scikit-learn brings the rows."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

from pruneguard.workload import Snapshot, Split


class BreastCancer:
    """569 rows: 229 train, 170 gate, 170 release, stratified. Features are standardised by train's mean and spread."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def data(self, directory: Path) -> Snapshot:
        bunch = load_breast_cancer()
        x, y = bunch.data.astype(np.float32), bunch.target.astype(np.int64)
        held, train = train_test_split(np.arange(len(y)), test_size=229, stratify=y, random_state=0)
        gate, release = train_test_split(held, test_size=170, stratify=y[held], random_state=0)
        x = ((x - x[train].mean(axis=0)) / x[train].std(axis=0)).astype(np.float32)
        splits = [Split(x[rows], y[rows]) for rows in (train, gate, release)]
        return Snapshot(*splits, classes=2, bounds=(-20.0, 20.0))  # one pair for all features, so a wide one
