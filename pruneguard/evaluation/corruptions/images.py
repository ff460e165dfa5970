"""Damage to images, after Hendrycks & Dietterich 2019 (arXiv:1903.12261): a family of every sort.

The sensor (noise, shot, impulse), the optics (blur, motion), the light (brightness, contrast, fog), the storage
(pixelate, compression), the framing (rotation, occlusion). Every function takes images [n, channels, height, width]
from 0 to 1, of any size; lengths are shares of the shorter side, so that 8 pixels stand what 224 do. Noise, shot,
impulse, brightness and fog are as strong as in CIFAR-10-C or up to a fifth stronger.
"""

from collections.abc import Callable, Mapping
from statistics import NormalDist
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from pruneguard.evaluation.domain import Domain
from pruneguard.workload import Floats

Drawn: TypeAlias = np.random.Generator

_BATCH = 256  # images damaged at a time: what lies between two steps stays in the cache

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float32,
)
"""Steps of a block's coefficients at quality 50 (ITU-T T.81, table K.1), in 255ths."""

_GREY = np.float32(128 / 255)


def corrupt(x: Floats, domain: Domain, *, family: str, severity: int, rng: Drawn) -> Floats:
    """The images damaged at a severity from 1 to 5; they may leave the bounds."""
    width = np.float32(domain.high - domain.low)
    damaged = np.empty_like(x)
    for start in range(0, len(x), _BATCH):
        rows = slice(start, start + _BATCH)
        unit = (x[rows] - np.float32(domain.low)) / width
        damaged[rows] = np.clip(FAMILIES[family](unit, severity - 1, rng), 0, 1) * width + np.float32(domain.low)
    return damaged


def _noise(x: Floats, level: int, rng: Drawn) -> Floats:
    deviation = np.float32((0.04, 0.06, 0.08, 0.1, 0.12)[level])
    return x + deviation * rng.standard_normal(x.shape, dtype=np.float32)


def _shot(x: Floats, level: int, rng: Drawn) -> Floats:
    """So many photons at full light: their Poisson noise by its variance, which costs a tenth of drawing it."""
    photons = np.float32((500, 250, 100, 75, 50)[level])
    deviation: Floats = np.sqrt(x.clip(0) / photons)
    return x + deviation * rng.standard_normal(x.shape, dtype=np.float32)


def _impulse(x: Floats, level: int, rng: Drawn) -> Floats:
    share = (0.01, 0.02, 0.03, 0.05, 0.08)[level]
    drawn = rng.random(x.shape, dtype=np.float32)
    return np.where(drawn < share, (drawn < share / 2).astype(np.float32), x)


def _blur(x: Floats, level: int, rng: Drawn) -> Floats:  # one signature
    deviation = (0.02, 0.03, 0.04, 0.05, 0.06)[level] * min(x.shape[2:])
    edges = NormalDist(0, deviation)  # of a pixel, not its middle: deviations are smaller than one in small images
    weights = np.array([edges.cdf(place + 0.5) - edges.cdf(place - 0.5) for place in _offsets(3 * deviation)])
    return _filtered(_filtered(x, weights, axis=2), weights, axis=3)


def _motion(x: Floats, level: int, rng: Drawn) -> Floats:
    """Along a row or a column of pixels, half of the images each: as far as they move, and one pixel."""
    length = 1 + (0.05, 0.1, 0.15, 0.2, 0.25)[level] * min(x.shape[2:])
    weights = np.clip(length / 2 + 0.5 - np.abs(_offsets(length / 2)), 0, 1)  # how much of each pixel that covers
    upright = rng.permutation(len(x)) % 2 == 0
    moved = np.empty_like(x)
    moved[upright] = _filtered(x[upright], weights, axis=2)
    moved[~upright] = _filtered(x[~upright], weights, axis=3)
    return moved


def _brightness(x: Floats, level: int, rng: Drawn) -> Floats:
    """Half of the images lighter, half darker."""
    change = np.float32((0.05, 0.1, 0.15, 0.2, 0.3)[level])
    return x + change * _signs(len(x), rng)[:, None, None, None]


def _contrast(x: Floats, level: int, rng: Drawn) -> Floats:
    kept = np.float32((0.8, 0.65, 0.5, 0.4, 0.3)[level])
    middle = x.mean(axis=(1, 2, 3), keepdims=True)
    faded: Floats = middle + kept * (x - middle)
    return faded


def _fog(x: Floats, level: int, rng: Drawn) -> Floats:
    """Clouds of three sizes over the image, which grows paler by as much."""
    density = (0.2, 0.5, 0.75, 1.0, 1.5)[level]
    clouds = torch.zeros(len(x), 1, 2, 2)
    for cells in (2, 4, 8):  # half as thick at half the size
        clouds = F.interpolate(clouds, size=(cells, cells), mode="bilinear")
        clouds += torch.from_numpy(rng.random((len(x), 1, cells, cells), dtype=np.float32)) * (8 / 7 / cells)
    thickness: Floats = F.interpolate(clouds, size=x.shape[2:], mode="bilinear").numpy()
    return (x + np.float32(density) * thickness) * np.float32(1 / (1 + density))


def _pixelate(x: Floats, level: int, rng: Drawn) -> Floats:
    share = (0.85, 0.7, 0.55, 0.4, 0.25)[level]
    small = [max(1, round(share * side)) for side in x.shape[2:]]
    coarse = F.interpolate(torch.from_numpy(x), size=small, mode="area")
    pixels: Floats = F.interpolate(coarse, size=x.shape[2:], mode="nearest-exact").numpy()
    return pixels


def _compression(x: Floats, level: int, rng: Drawn) -> Floats:
    """What JPEG loses: blocks of 8 x 8 whose cosine coefficients are rounded, every channel for itself."""
    quality = (50, 35, 25, 15, 8)[level]
    steps = np.clip((_LUMINANCE * (5000 // quality) + 50) // 100, 1, 255) / 255
    n, channels, height, width = x.shape
    padded = np.pad(x, [(0, 0), (0, 0), (0, -height % 8), (0, -width % 8)], mode="edge")
    down, across = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.reshape(n, channels, down, 8, across, 8).swapaxes(3, 4)
    waves = _cosines()
    coefficients = np.rint(waves @ (blocks - _GREY) @ waves.T / steps) * steps
    restored = (waves.T @ coefficients @ waves + _GREY).swapaxes(3, 4).reshape(padded.shape)
    return np.asarray(restored[:, :, :height, :width], dtype=np.float32)


def _rotation(x: Floats, level: int, rng: Drawn) -> Floats:
    """About the middle, half of the images each way; the border's pixels are repeated."""
    angle = np.deg2rad((5.0, 10.0, 15.0, 20.0, 30.0)[level]) * _signs(len(x), rng)
    height, width = x.shape[2:]
    turn = np.zeros((len(x), 2, 3), dtype=np.float32)
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
    turn[:, 0, 1], turn[:, 1, 0] = -np.sin(angle) * height / width, np.sin(angle) * width / height
    grid = F.affine_grid(torch.from_numpy(turn), list(x.shape), align_corners=False)
    turned: Floats = F.grid_sample(
        torch.from_numpy(x), grid, mode="bilinear", padding_mode="border", align_corners=False
    ).numpy()
    return turned


def _occlusion(x: Floats, level: int, rng: Drawn) -> Floats:
    """A grey square somewhere in the image."""
    side = (0.2, 0.3, 0.35, 0.4, 0.5)[level] * min(x.shape[2:])
    down, across = (
        np.abs(np.arange(size) + 0.5 - side / 2 - rng.random((len(x), 1)) * (size - side)) < side / 2
        for size in x.shape[2:]
    )
    return np.where((down[:, :, None] & across[:, None, :])[:, None], np.float32(0.5), x)


FAMILIES: Mapping[str, Callable[[Floats, int, Drawn], Floats]] = MappingProxyType(
    {
        "noise": _noise,
        "shot": _shot,
        "impulse": _impulse,
        "blur": _blur,
        "motion": _motion,
        "brightness": _brightness,
        "contrast": _contrast,
        "fog": _fog,
        "pixelate": _pixelate,
        "compression": _compression,
        "rotation": _rotation,
        "occlusion": _occlusion,
    }
)
"""By name; arguments are the images, the severity from 0 to 4, and the chance."""


def _offsets(reach: float) -> Floats:
    most = int(np.ceil(reach))
    return np.arange(-most, most + 1, dtype=np.float32)


def _filtered(x: Floats, weights: Floats, *, axis: int) -> Floats:
    """The weighted mean of every pixel's neighbours along one axis, its border pixels repeated."""
    reach = len(weights) // 2
    padding = [(reach, reach) if each == axis else (0, 0) for each in range(x.ndim)]
    padded = np.pad(x, padding, mode="edge")
    filtered = np.zeros_like(x)
    place = [slice(None)] * x.ndim
    for start, weight in enumerate(weights / weights.sum()):
        place[axis] = slice(start, start + x.shape[axis])
        filtered += np.float32(weight) * padded[tuple(place)]
    return filtered


def _signs(n: int, rng: Drawn) -> Floats:
    """One half 1, one half -1, in a drawn order."""
    return (2 * (rng.permutation(n) % 2) - 1).astype(np.float32)


def _cosines() -> Floats:
    """The orthonormal cosine transform of eight values, [8, 8]."""
    place, frequency = np.meshgrid(np.arange(8), np.arange(8))
    waves = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)
