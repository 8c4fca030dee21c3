"""SSD: a multi-box single-shot detector.

Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2015), https://arxiv.org/abs/1512.02325: convolutional features of
several scales, and on each of them one 3x3 convolution for the classes and one for the boxes of its anchors. The backbone is a
small one of its own, with batch normalisation, instead of the paper's VGG-16.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridBlock, HybridSequential, nn
from zoo_mxnet.layers import BatchNorm, convolution


class Detections(NamedTuple):
    """What a detector gives for each anchor.

    Attributes:
        scores: ``float32[batch, anchors, classes + 1]``: logits, background first.
        offsets: ``float32[batch, anchors, 4]``: of centre x, centre y, log width and log height, in variances.
        anchors: ``float32[batch, anchors, 4]``: corners (x0, y0, x1, y1) in fractions of the picture.
    """

    scores: Any
    offsets: Any
    anchors: Any


class Stage(HybridBlock):
    """Two convolutions with batch normalisation and ReLU, one of which halves height and width, rounded up.

    Args:
        inputs: Channels before.
        inner: Channels between.
        outputs: Channels after.
        kernels: Sides of the two; one of 3 keeps or halves what one of 1 does.
        strides: Of the two.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, kernels: tuple[int, int], strides: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, inner, kernels[0], stride=strides[0], padding=kernels[0] // 2)
        self.bn1 = BatchNorm(inner)
        self.conv2 = convolution(inner, outputs, kernels[1], stride=strides[1], padding=kernels[1] // 2)
        self.bn2 = BatchNorm(outputs)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Filter ``[batch, inputs, height, width]``."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class SSD(HybridBlock):
    """Maps ``float32[batch, 3, height, width]``, of any size, to `Detections`.

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
        self.backbone, self.scales = HybridSequential(), HybridSequential()
        self.backbone.add(*(Stage(before, after, after, (3, 3), (2, 1)) for before, after in pairs[: len(backbone)]))
        # A further scale narrows by a 1x1 convolution first, as the paper's do.
        further = pairs[len(backbone) :]
        self.scales.add(*(Stage(before, max(after // 2, 1), after, (1, 3), (1, 2)) for before, after in further))
        self.classifiers, self.regressors = HybridSequential(), HybridSequential()
        for width, of_scale in zip(widths[len(backbone) :], sizes, strict=True):
            anchors = len(of_scale) + len(ratios) - 1
            self.classifiers.add(nn.Conv2D(anchors * (classes + 1), 3, padding=1, in_channels=width))
            self.regressors.add(nn.Conv2D(anchors * 4, 3, padding=1, in_channels=width))

    @property
    def zoo_factory(self) -> factories.SSD:
        """What builds a block like this one."""
        return self._factory

    def __call__(self, x: Any) -> Detections:
        """Scores, offsets and anchors, scale by scale, row by row, cell by cell."""
        # A compiled block returns a plain list.
        return Detections(*super().__call__(x))

    def hybrid_forward(self, F: Any, x: Any) -> tuple[Any, Any, Any]:  # noqa: N803 - Gluon's name
        """Compute them; the anchors are those of the paper's section 2.2, by MXNet's own operator."""
        features = [self.backbone(x)]
        for scale in self.scales:
            features.append(scale(features[-1]))
        classes, ratios = self._factory.classes, self._factory.ratios
        scores = [_by_anchor(F, head(x), classes + 1) for head, x in zip(self.classifiers, features, strict=True)]
        offsets = [_by_anchor(F, head(x), 4) for head, x in zip(self.regressors, features, strict=True)]
        anchors = [
            F.contrib.MultiBoxPrior(x, sizes=sizes, ratios=ratios)
            for x, sizes in zip(features, self._factory.sizes, strict=True)
        ]
        joined = F.concat(*offsets, dim=1)
        repeated = F.broadcast_like(F.concat(*anchors, dim=1), joined, lhs_axes=(0,), rhs_axes=(0,))
        return F.concat(*scores, dim=1), joined, repeated


def _by_anchor(F: Any, found: Any, values: int) -> Any:  # noqa: N803 - Gluon's name
    """``[batch, anchors * values, height, width]`` -> ``[batch, height * width * anchors, values]``."""
    return F.reshape(F.transpose(found, (0, 2, 3, 1)), (0, -1, values))
