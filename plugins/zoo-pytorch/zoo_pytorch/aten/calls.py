"""What a network calls beside operators; fx finds them as attributes of this module."""

from __future__ import annotations

from torch import Tensor

from zoo_core import InputError


def count_batch(training: bool, counters: list[Tensor]) -> None:
    """Count a batch of every batch norm that trains, as `torch.nn.BatchNorm2d` does."""
    if training:
        for counter in counters:
            counter.add_(1)


def only_in_training(probability: float, training: bool) -> float:
    """A probability of dropout; zero in evaluation."""
    return probability if training else 0.0


def expect_shape(value: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    """Refuse an input of other sizes than those that the program was exported for: it might compute something else.

    Raises:
        InputError: With both shapes.
    """
    found = value.shape
    if len(found) == len(shape):
        for size, expected in zip(found, shape, strict=True):
            if expected is not None and size != expected:
                break
        else:
            return
    raise InputError(
        f"input {name!r} has the shape {list(found)}; the program was exported for "
        f"[{', '.join('*' if size is None else str(size) for size in shape)}]; "
        "export it with dynamic_shapes where other sizes are needed"
    )


def expect_value(value: object, name: str, expected: object) -> None:
    """Refuse another value of an input that is no tensor than the one that the program was exported for.

    Raises:
        InputError: With both values.
    """
    if type(value) is not type(expected) or value != expected:
        raise InputError(f"input {name!r} is {value!r}; the program was exported for {expected!r} and computes nothing else")
