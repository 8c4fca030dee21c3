"""How many examples are drawn: few in a usual run, ``ZOO_FUZZ`` times as many in a long one."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("ZOO_FUZZ", "1"))


def drawn(examples: int, **others: Any) -> settings:
    """Settings of a test that draws its inputs; what its fixtures make is new for each of them or does not change."""
    return settings(
        max_examples=examples * TIMES, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], **others,
    )  # fmt: skip
