"""Residual networks of 18 to 152 layers, version 1.5.

Source: K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, arXiv:1512.03385; the stride of a
bottleneck lies on its 3x3 convolution ("v1.5"), as in torchvision, whose parameter names these are.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo_pytorch import factories

#: A bottleneck gives this many times its inner channels.
EXPANSION = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the identity."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, h, w]`` -> ``[batch, channels, h / stride, w / stride]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return self.relu(y)  # type: ignore[no-any-return]  # a module's call is untyped


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution and the identity."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = channels * EXPANSION
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, h, w]`` -> ``[batch, 4 * channels, h / stride, w / stride]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return self.relu(y)  # type: ignore[no-any-return]  # a module's call is untyped


class ResNet(nn.Module):
    """``float32[batch, 3, height, width]`` -> logits ``float32[batch, classes]``.

    Args:
        layers: 18, 34, 50, 101 or 152.
        classes: How many classes there are.
    """

    def __init__(self, layers: int = 50, classes: int = 1000) -> None:
        super().__init__()
        self._factory = factories.ResNetV1(layers=layers, classes=classes)
        is_bottleneck = layers >= 50
        block = Bottleneck if is_bottleneck else BasicBlock
        expansion = EXPANSION if is_bottleneck else 1
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, count in enumerate(factories.DEPTHS[layers]):
            channels, first_stride = 64 << stage, 1 if stage == 0 else 2
            blocks = []
            for number in range(count):
                blocks.append(block(inputs, channels, first_stride if number == 0 else 1))
                inputs = channels * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    @property
    def zoo_factory(self) -> factories.ResNetV1:
        """What builds a block like this one."""
        return self._factory

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[operator]  # added by name
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]  # a module's call is untyped


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings the identity to a block's shape; None where it has it already."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
