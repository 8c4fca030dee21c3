"""The factories: what the parameter file cannot say, which is the code around the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo_core as zoo


@dataclass(frozen=True, kw_only=True)
class FlowersInPyTorch(zoo.BlockFactory):
    """Standardised pictures, a published network, one linear layer.

    Attributes:
        features: What the published network gives for a picture.
        classes: Length of the logits.
    """

    features: int = 1280
    classes: int = 2

    def new_block(self, model: zoo.Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """The structure, with an empty place for the network."""
        from zoo_flowers.in_pytorch import flowers

        return flowers(features=self.features, classes=self.classes)


@dataclass(frozen=True, kw_only=True)
class FlowersInMXNet(zoo.BlockFactory):
    """The same in MXNet.

    Attributes:
        features: What the published network gives for a picture.
        classes: Length of the logits.
    """

    features: int = 1280
    classes: int = 2

    def new_block(self, model: zoo.Model, model_path: Path | None, arguments: Mapping[str, Any]) -> Any:
        """The structure, with an empty place for the network."""
        from zoo_flowers.in_mxnet import flowers

        return flowers(features=self.features, classes=self.classes)
