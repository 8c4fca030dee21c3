"""ResNet v1.5: residual networks of 18 to 152 layers.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015), https://arxiv.org/abs/1512.03385. Version
1.5 puts a bottleneck's stride on its 3x3 convolution, as torchvision's networks do (BSD-3-Clause), whose parameter names are
used; with the stride on the first 1x1 convolution their parameters give other numbers.
"""

from __future__ import annotations

from typing import Any

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridBlock, HybridSequential, nn
from zoo_mxnet.layers import BatchNorm, convolution

_WIDTHS = (64, 128, 256, 512)


class BasicBlock(HybridBlock):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = BatchNorm(width)
        self.conv2 = convolution(width, width, 3, padding=1)
        self.bn2 = BatchNorm(width)
        self.downsample = _shortcut(inputs, width, stride)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Add what two convolutions find to their input."""
        found = F.relu(self.bn1(self.conv1(x)))
        found = self.bn2(self.conv2(found))
        return F.relu(found + self.downsample(x))


class Bottleneck(HybridBlock):
    """A 3x3 convolution between two of 1x1 that narrow and widen, beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = BatchNorm(width)
        self.conv2 = convolution(width, width, 3, stride=stride, padding=1)
        self.bn2 = BatchNorm(width)
        self.conv3 = convolution(width, width * self.expansion, 1)
        self.bn3 = BatchNorm(width * self.expansion)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Add what three convolutions find to their input."""
        found = F.relu(self.bn1(self.conv1(x)))
        found = F.relu(self.bn2(self.conv2(found)))
        found = self.bn3(self.conv3(found))
        return F.relu(found + self.downsample(x))


class ResNet(HybridBlock):
    """Maps ``float32[batch, 3, height, width]`` to logits ``float32[batch, classes]``.

    Args:
        layers: 18, 34, 50, 101 or 152.
        classes: Length of the logits.
    """

    def __init__(self, layers: int = 50, classes: int = 1000) -> None:
        super().__init__()
        self._factory = factories.ResNetV1(layers=layers, classes=classes)
        unit = BasicBlock if layers < 50 else Bottleneck
        depths = factories.DEPTHS[layers]
        self.conv1 = convolution(3, 64, 7, stride=2, padding=3)
        self.bn1 = BatchNorm(64)
        self.maxpool = nn.MaxPool2D(3, strides=2, padding=1)
        self.layer1 = _stage(unit, 64, _WIDTHS[0], depths[0], stride=1)
        self.layer2 = _stage(unit, _WIDTHS[0] * unit.expansion, _WIDTHS[1], depths[1], stride=2)
        self.layer3 = _stage(unit, _WIDTHS[1] * unit.expansion, _WIDTHS[2], depths[2], stride=2)
        self.layer4 = _stage(unit, _WIDTHS[2] * unit.expansion, _WIDTHS[3], depths[3], stride=2)
        self.avgpool = nn.GlobalAvgPool2D()
        self.fc = nn.Dense(classes, in_units=_WIDTHS[3] * unit.expansion)

    @property
    def zoo_factory(self) -> factories.ResNetV1:
        """What builds a block like this one."""
        return self._factory

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Compute the logits."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x))


def _stage(unit: type[BasicBlock | Bottleneck], inputs: int, width: int, depth: int, *, stride: int) -> HybridSequential:
    stage = HybridSequential()
    stage.add(unit(inputs, width, stride))
    for _ in range(depth - 1):
        stage.add(unit(width * unit.expansion, width, 1))
    return stage


def _shortcut(inputs: int, outputs: int, stride: int) -> HybridSequential:
    """A projection where the shape changes; an empty sequence, which has no parameters and does nothing, elsewhere."""
    shortcut = HybridSequential()
    if stride > 1 or inputs != outputs:
        shortcut.add(convolution(inputs, outputs, 1, stride=stride), BatchNorm(outputs))
    return shortcut
