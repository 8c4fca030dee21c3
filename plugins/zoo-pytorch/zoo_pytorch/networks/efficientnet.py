"""EfficientNet-Lite0.

Source: M. Tan, Q. V. Le: EfficientNet, arXiv:1905.11946, table 1; the Lite variant (no squeeze-and-excitation, ReLU6, fixed
stem and head) is described in the TensorFlow TPU repository, ``models/official/efficientnet/lite``. The parameter names are
those of the published file ``efficientnet-lite0-57934424.pth`` (Apache-2.0).
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812 - the name that everyone uses
from torch import Tensor, nn

from zoo_pytorch import factories

#: TensorFlow's batch norm; PyTorch counts the momentum from the other side.
BN_EPSILON, BN_MOMENTUM = 1e-3, 0.01
STEM, HEAD, DROPOUT = 32, 1280, 0.2


class Stage(NamedTuple):
    """A row of the paper's table: equal blocks, of which only the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution without a bias that pads as TensorFlow's "same" does: with stride 2, more at the right and the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, h, w]`` -> ``[batch, outputs, ceil(h / stride), ceil(w / stride)]``."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        top, bottom = _padding(x.shape[-2], kernel, stride)
        left, right = _padding(x.shape[-1], kernel, stride)
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, None, self.stride, (top, left), groups=self.groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, None, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """A mobile inverted bottleneck: expand, filter each channel, project, and the identity where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv2d(inputs, inner, 1)
            self._bn0 = _batch_norm(inner)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _batch_norm(inner)
        self._project_conv = SameConv2d(inner, outputs, 1)
        self._bn2 = _batch_norm(outputs)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, h, w]`` -> ``[batch, outputs, ceil(h / stride), ceil(w / stride)]``."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.is_residual else y  # type: ignore[no-any-return]  # a module's call is untyped


class EfficientNetLite0(nn.Module):
    """``float32[batch, 3, height, width]`` -> logits ``float32[batch, classes]``; made for 224 x 224.

    Args:
        classes: How many classes there are.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._factory = factories.EfficientNetLite0(classes=classes)
        self._conv_stem = SameConv2d(3, STEM, 3, 2)
        self._bn0 = _batch_norm(STEM)
        self._blocks = nn.ModuleList()
        inputs = STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                self._blocks.append(InvertedResidual(inputs, stage.outputs, stage.kernel, stride, stage.expansion))
                inputs = stage.outputs
        self._conv_head = SameConv2d(inputs, HEAD, 1)
        self._bn1 = _batch_norm(HEAD)
        self._dropout = nn.Dropout(DROPOUT)
        self._fc = nn.Linear(HEAD, classes)

    @property
    def zoo_factory(self) -> factories.EfficientNetLite0:
        """What builds a block like this one."""
        return self._factory

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(x.mean((2, 3))))  # type: ignore[no-any-return]  # a module's call is untyped


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPSILON, momentum=BN_MOMENTUM)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, so that its length becomes ceil(size / stride)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
