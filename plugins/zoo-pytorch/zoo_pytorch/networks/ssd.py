"""SSD: a multi-box single-shot detector.

Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2015), https://arxiv.org/abs/1512.02325: convolutional features of
several scales, and on each of them one 3x3 convolution for the classes and one for the boxes of its anchors. The backbone is a
small one of its own, with batch normalisation, instead of the paper's VGG-16.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo_pytorch import factories


class Detections(NamedTuple):
    """What a detector gives for each anchor.

    Attributes:
        scores: ``float32[batch, anchors, classes + 1]``: logits, background first.
        offsets: ``float32[batch, anchors, 4]``: of centre x, centre y, log width and log height, in variances.
        anchors: ``float32[batch, anchors, 4]``: corners (x0, y0, x1, y1) in fractions of the picture.
    """

    scores: Tensor
    offsets: Tensor
    anchors: Tensor


class Stage(nn.Module):
    """Two convolutions with batch normalisation and ReLU, one of which halves height and width."""

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self.conv1 = first
        self.bn1 = nn.BatchNorm2d(first.out_channels)
        self.conv2 = second
        self.bn2 = nn.BatchNorm2d(second.out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, h, w]`` -> ``[batch, outputs, ceil(h / 2), ceil(w / 2)]``."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))  # type: ignore[no-any-return]  # a module's call is untyped


class SSD(nn.Module):
    """``float32[batch, 3, height, width]``, of any size -> `Detections`.

    The anchors are computed from the size of each scale and no state of the network.

    Args:
        classes: How many classes of objects there are, without the background.
        backbone: Channels of the backbone's stages.
        scales: Channels of the further scales.
        sizes: For each scale, sides of square anchors in fractions of the picture's height.
        ratios: Width over height of the anchors.
    """

    def __init__(
        self,
        classes: int,
        backbone: Sequence[int],
        scales: Sequence[int],
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[float],
    ) -> None:
        super().__init__()
        self._factory = factories.SSD(
            classes=classes,
            backbone=tuple(backbone),
            scales=tuple(scales),
            sizes=tuple(tuple(of_scale) for of_scale in sizes),
            ratios=tuple(ratios),
        )
        widths = (3, *backbone, *scales)
        pairs = list(itertools.pairwise(widths))
        self.backbone = nn.Sequential(*(_halving_first(*pair) for pair in pairs[: len(backbone)]))
        self.scales = nn.ModuleList(_halving_last(*pair) for pair in pairs[len(backbone) :])
        self.classifiers, self.regressors = nn.ModuleList(), nn.ModuleList()
        for width, of_scale in zip(widths[len(backbone) :], sizes, strict=True):
            anchors = len(of_scale) + len(ratios) - 1
            self.classifiers.append(nn.Conv2d(width, anchors * (classes + 1), 3, padding=1))
            self.regressors.append(nn.Conv2d(width, anchors * 4, 3, padding=1))

    @property
    def zoo_factory(self) -> factories.SSD:
        """What builds a block like this one."""
        return self._factory

    def forward(self, x: Tensor) -> Detections:
        """Scores, offsets and anchors, scale by scale, row by row, cell by cell."""
        features = [self.backbone(x)]
        for scale in self.scales:
            features.append(scale(features[-1]))
        scores = [_by_anchor(head(x), self._factory.classes + 1) for head, x in zip(self.classifiers, features, strict=True)]
        offsets = [_by_anchor(head(x), 4) for head, x in zip(self.regressors, features, strict=True)]
        anchors = torch.cat(
            [anchors_of(x, sizes, self._factory.ratios) for x, sizes in zip(features, self._factory.sizes, strict=True)]
        )
        return Detections(torch.cat(scores, 1), torch.cat(offsets, 1), anchors.expand(x.shape[0], -1, -1))


def anchors_of(feature: Tensor, sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """The anchors of one scale: those of the paper's section 2.2 with the conventions of MXNet's ``MultiBoxPrior``.

    Args:
        feature: ``[batch, channels, height, width]``; only its shape and its device count.
        sizes: Sides of square anchors in fractions of the picture's height.
        ratios: Width over height; the first is that of every size, each further one is for the first size only.

    Returns:
        ``float32[height * width * (sizes + ratios - 1), 4]``: corners in fractions of the picture. They may lie outside it.
    """
    height, width = feature.shape[2:]
    # In float32 whatever the network computes in: in half precision an anchor would be off by a part of a pixel.
    rows, columns = (
        (torch.arange(count, device=feature.device, dtype=torch.float32) + 0.5) / count for count in (height, width)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    corners = []
    for size, ratio in shapes:
        # Square in pixels, so that its width is another fraction of the picture than its height.
        half_width, half_height = size * height / width * ratio**0.5 / 2, size / ratio**0.5 / 2
        corners.append(torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), 2))
    return torch.stack(corners, 2).reshape(-1, 4)


def _by_anchor(found: Tensor, values: int) -> Tensor:
    """``[batch, anchors * values, height, width]`` -> ``[batch, height * width * anchors, values]``."""
    return found.permute(0, 2, 3, 1).reshape(found.shape[0], -1, values)


def _halving_first(inputs: int, outputs: int) -> Stage:
    """A stage of the backbone."""
    return Stage(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
    )


def _halving_last(inputs: int, outputs: int) -> Stage:
    """A further scale, which narrows by a 1x1 convolution first, as the paper's do."""
    inner = max(outputs // 2, 1)
    return Stage(
        nn.Conv2d(inputs, inner, 1, bias=False),
        nn.Conv2d(inner, outputs, 3, stride=2, padding=1, bias=False),
    )
