"""EfficientNet-Lite0: a mobile network of inverted residuals.

Source: Tan and Le, "EfficientNet" (2019), https://arxiv.org/abs/1905.11946; the Lite variants, without squeeze-and-excitation
and with ReLU6, are TensorFlow's (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, Apache-2.0).
The parameters have the names of the package ``efficientnet-lite-pytorch`` (Apache-2.0), whose weights are published; none of
its code is used. Stochastic depth, which only training needs, is left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridBlock, HybridSequential, nn
from zoo_mxnet.layers import BatchNorm, ReLU6, SameConvolution


class Stage(NamedTuple):
    """Inverted residuals of one width; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


_STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, outputs=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, outputs=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, outputs=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, outputs=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, outputs=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, outputs=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, outputs=320),
)
_STEM, _HEAD = 32, 1280
#: TensorFlow's; with PyTorch's 1e-5 every label of the published weights stays and the probabilities move by up to 0.1.
_EPSILON = 1e-3
_MOMENTUM = 0.99


class InvertedResidual(HybridBlock):
    """Widens by a 1x1 convolution, filters each channel, narrows again; adds its input where the shape is kept."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        self._widens = stage.expansion > 1
        self._adds = stride == 1 and inputs == stage.outputs
        if self._widens:
            self._expand_conv = SameConvolution(inputs, width, 1)
            self._bn0 = _batch_norm(width)
        self._depthwise_conv = SameConvolution(width, width, stage.kernel, stride=stride, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = SameConvolution(width, stage.outputs, 1)
        self._bn2 = _batch_norm(stage.outputs)
        self._relu6 = ReLU6()

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Filter ``[batch, inputs, height, width]``."""
        wide = self._relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        wide = self._relu6(self._bn1(self._depthwise_conv(wide)))
        found = self._bn2(self._project_conv(wide))
        return found + x if self._adds else found


class EfficientNetLite0(HybridBlock):
    """Maps ``float32[batch, 3, height, width]`` to logits ``float32[batch, classes]``.

    The published weights were trained at 224 by 224.

    Args:
        classes: Length of the logits.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._factory = factories.EfficientNetLite0(classes=classes)
        self._conv_stem = SameConvolution(3, _STEM, 3, stride=2)
        self._bn0 = _batch_norm(_STEM)
        self._blocks = _inverted_residuals()
        self._conv_head = SameConvolution(_STAGES[-1].outputs, _HEAD, 1)
        self._bn1 = _batch_norm(_HEAD)
        self._avg_pooling = nn.GlobalAvgPool2D()
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Dense(classes, in_units=_HEAD)
        self._relu6 = ReLU6()

    @property
    def zoo_factory(self) -> factories.EfficientNetLite0:
        """What builds a block like this one."""
        return self._factory

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Compute the logits."""
        x = self._relu6(self._bn0(self._conv_stem(x)))
        x = self._relu6(self._bn1(self._conv_head(self._blocks(x))))
        return self._fc(self._dropout(self._avg_pooling(x)))


def _inverted_residuals() -> HybridSequential:
    blocks, inputs = HybridSequential(), _STEM
    for stage in _STAGES:
        for position in range(stage.repeats):
            blocks.add(InvertedResidual(inputs, stage, stage.stride if position == 0 else 1))
            inputs = stage.outputs
    return blocks


def _batch_norm(channels: int) -> BatchNorm:
    return BatchNorm(channels, epsilon=_EPSILON, momentum=_MOMENTUM)
