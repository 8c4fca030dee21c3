"""What seeded networks compute, by their sources; every engine is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Logits of seeded parameters and pictures, by PyTorch 2.13 in float64: the ResNets by plain torch networks that follow
# torchvision's (stride on the 3x3; on the 1x1 the first number of ResNet-50 is -485), EfficientNet by its publisher's package.
RESNET_18 = [
    [-28.162398698, 66.322590658, -53.459814652, -30.137390792, 6.663775035],
    [-24.27404364, 55.77798573, -63.211623825, -32.259436205, 0.286649288],
]
RESNET_50 = [
    [-443.285580658, 2161.709796491, -8732.481707219, 2603.33669765, -3695.701602645],
    [181.650366629, 2445.239697592, -8664.641980057, 2934.260986893, -4125.566181148],
]
EFFICIENTNET_LITE0 = [
    [-5.518908047, 0.152389332, 2.229322338, 0.494813882, -0.61887581],
    [-3.285819694, 0.226527095, 2.345712499, -0.351672206, -1.334296618],
]
# Every 125th logit of the published weights for two seeded pictures, by the publisher's package in PyTorch.
PUBLISHED = [
    [-2.5931234, 0.0841832, -0.5156518, 0.0385847, -0.760437, -0.2696831, 0.481413, -0.982586],
    [-2.5261898, -0.0496832, -0.9467387, 0.5241282, -0.8583413, -0.3855486, -0.3970331, -0.9883066],
]


def pictures(size: int) -> Any:
    """Two seeded pictures, float32[2, 3, size, size]."""
    import numpy as np

    return np.random.RandomState(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)


def seeded_values(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Values for every parameter of a network, the same wherever they are computed: by name, from one frozen generator."""
    import numpy as np

    random = np.random.RandomState(7)
    return {name: _value(name, shapes[name], random).astype(np.float32) for name in sorted(shapes)}


def _value(name: str, shape: tuple[int, ...], random: Any) -> Any:
    import numpy as np

    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return random.uniform(0.5, 1.5, shape)
    reach = (6 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.5
    return random.uniform(-reach, reach, shape)
