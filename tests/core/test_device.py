"""Devices by engine-neutral names."""

from __future__ import annotations

import pytest

from zoo_core import Device, InputError


@pytest.mark.parametrize(
    ("text", "kind", "index", "written"),
    [
        ("cpu", "cpu", 0, "cpu"),
        ("cpu:0", "cpu", 0, "cpu"),
        ("gpu", "gpu", 0, "gpu:0"),
        ("gpu:1", "gpu", 1, "gpu:1"),
        ("cuda", "gpu", 0, "gpu:0"),
        ("cuda:3", "gpu", 3, "gpu:3"),
        (" GPU:12 ", "gpu", 12, "gpu:12"),
    ],
)
def test_a_device_is_read_and_written_by_its_neutral_name(text: str, kind: str, index: int, written: str) -> None:
    device = Device.parse(text)
    assert (device.kind, device.index, str(device)) == (kind, index, written)


@pytest.mark.parametrize("text", ["", "tpu", "gpu:", "gpu:x", "gpu:-1", "gpu 1", "gpu:99999", "cpugpu", "gpu:1\n2"])
def test_anything_else_is_an_error_that_says_what_is_expected(text: str) -> None:
    with pytest.raises(InputError, match=r"expected cpu, gpu or gpu:1"):
        Device.parse(text)


def test_a_device_is_the_processor_unless_said_otherwise() -> None:
    assert Device() == Device.parse("cpu")
