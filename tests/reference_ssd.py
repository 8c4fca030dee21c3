"""A multi-box detector in NumPy's double precision, written from the paper and independent of the engines.

Source: arXiv:1512.02325; the anchors are those that MXNet documents for ``MultiBoxPrior``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FIELDS: dict[str, Any] = {
    "classes": 3,
    "backbone": (4, 6),
    "scales": (5, 1),
    "sizes": ((0.2, 0.3), (0.45,), (0.7, 0.8, 0.9)),
    "ratios": (2.0, 1.0, 0.4),
}


def outputs(values: Mapping[str, Any], x: Any) -> dict[str, Any]:
    """What the detector of `FIELDS` gives for ``[batch, 3, height, width]``."""
    import numpy as np

    w = {name: value.astype(np.float64) for name, value in values.items()}
    features = [x.astype(np.float64)]
    for number in range(2):
        features = [stage(w, f"backbone.{number}", features[0], (2, 1))]
    for number in range(2):
        features.append(stage(w, f"scales.{number}", features[-1], (1, 2)))
    heads: dict[str, list[Any]] = {"classifiers": [], "regressors": []}
    for kind, found in heads.items():
        for number, feature in enumerate(features):
            head = convolved(feature, w[f"{kind}.{number}.weight"], 1) + w[f"{kind}.{number}.bias"][:, None, None]
            found.append(head.transpose(0, 2, 3, 1).reshape(len(x), -1, 4))  # three classes and the background, or a box
    boxes = [
        box
        for feature, sizes in zip(features, FIELDS["sizes"], strict=True)
        for box in anchors(*feature.shape[2:], sizes, FIELDS["ratios"])
    ]
    return {
        "scores": np.concatenate(heads["classifiers"], 1),
        "offsets": np.concatenate(heads["regressors"], 1),
        "anchors": np.array([boxes] * len(x)),
    }


def anchors(height: int, width: int, sizes: tuple[float, ...], ratios: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Corners in fractions of the picture, row by row, cell by cell."""
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    found = []
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            for size, ratio in shapes:
                wide, high = size * math.sqrt(ratio) * height / width, size / math.sqrt(ratio)
                found.append((x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
    return found


def stage(w: Mapping[str, Any], name: str, x: Any, strides: tuple[int, int]) -> Any:
    """Two convolutions, each with batch normalisation and ReLU."""
    import numpy as np

    for number, stride in enumerate(strides, start=1):
        norm = f"{name}.bn{number}"
        x = convolved(x, w[f"{name}.conv{number}.weight"], stride)
        mean, variance, scale, shift = (
            w[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)
    return x


def convolved(x: Any, weight: Any, stride: int) -> Any:
    """A convolution of odd sides, padded with zeros by half of them."""
    import numpy as np

    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bihwkl,oikl->bohw", windows, weight)
