"""The detector: its numbers, its anchors, and the translator's boxes beside those of MXNet's own operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")

from zoo_mxnet import factories  # noqa: E402

from tests import reference_ssd  # noqa: E402
from zoo_core import TranslatorContext  # noqa: E402
from zoo_core.detection import ObjectDetection, decoded, unsuppressed  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

mx = framework.mx


def picture(height: int, width: int) -> Any:
    return np.random.RandomState(0).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("hybridize", ["true", "false"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (23, 50), (1, 1)])
def test_it_computes_what_the_reference_computes(
    height: int, width: int, hybridize: str, engine: Any, seeded: Callable[..., Any], parameter_file: Callable[..., Path]
) -> None:
    block = factories.SSD(**reference_ssd.FIELDS).network()
    values = seeded(block)
    engine.load_parameters(block, parameter_file(values))
    engine.prepare(block, {"hybridize": hybridize})
    x = picture(height, width)

    found = engine.forward(block, {"x": x})

    expected = reference_ssd.outputs(values, x)
    assert list(found) == ["scores", "offsets", "anchors"]
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_a_compiled_detector_takes_pictures_of_several_sizes(engine: Any) -> None:
    block = factories.SSD(**reference_ssd.FIELDS).network()
    block.initialize()
    engine.prepare(block, {})
    small, large = (engine.forward(block, {"x": picture(size, size)})["anchors"] for size in (16, 32))
    assert large.shape[1] == 4 * small.shape[1]


def test_gradients_reach_every_parameter() -> None:
    block = factories.SSD(**reference_ssd.FIELDS).network()
    block.initialize()
    with mx.autograd.record():
        scores, offsets, _ = block(mx.nd.array(picture(20, 20)))
        loss = (scores**2).sum() + (offsets**2).sum()
    loss.backward()
    parameters = block._collect_params_with_prefix()
    assert [name for name, held in parameters.items() if held.grad_req != "null" and not held.grad().asnumpy().any()] == []


def boxes(random: Any, count: int) -> Any:
    """Random corners with an area."""
    low = random.uniform(0, 0.7, (count, 2))
    return np.concatenate([low, low + random.uniform(0.05, 0.3, (count, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
def test_boxes_are_suppressed_as_by_box_nms(threshold: float) -> None:
    random = np.random.RandomState(5)
    corners = boxes(random, 120)
    # Few different probabilities, so that there are ties.
    scores = random.randint(1, 20, 120).astype(np.float32) / 20
    rows = mx.nd.array(np.concatenate([scores[:, None], corners], 1))
    out = mx.nd.contrib.box_nms(rows, overlap_thresh=threshold, coord_start=1, score_index=0, id_index=-1).asnumpy()

    order = (-scores).argsort(kind="stable")
    kept = order[unsuppressed(corners[order].astype(np.float64), threshold)]

    np.testing.assert_array_equal(out[out[:, 0] >= 0], np.concatenate([scores[:, None], corners], 1)[kept])


def test_boxes_are_decoded_as_by_multi_box_detection() -> None:
    random = np.random.RandomState(6)
    anchors, offsets = boxes(random, 50), random.normal(0, 1, (50, 4)).astype(np.float32)
    scores = random.permutation(50).astype(np.float32) / 50
    out = mx.nd.contrib.MultiBoxDetection(
        mx.nd.array(np.stack([1 - scores, scores])[None]),
        mx.nd.array(offsets.reshape(1, -1)),
        mx.nd.array(anchors[None]),
        threshold=0.0,
        nms_threshold=-1.0,
        clip=True,
    ).asnumpy()[0]

    expected = decoded(offsets.astype(np.float64), anchors.astype(np.float64), (0.1, 0.1, 0.2, 0.2)).clip(0, 1)

    found = out[out[:, 0] >= 0]
    # Without suppression it does not sort either.
    np.testing.assert_allclose(found[:, 1], scores, atol=1e-6)
    np.testing.assert_allclose(found[:, 2:], expected, atol=1e-6)


def test_the_translator_finds_what_multi_box_detection_finds() -> None:
    random = np.random.RandomState(7)
    anchors, offsets = boxes(random, 60), random.normal(0, 0.5, (60, 4)).astype(np.float32)
    scores = random.permutation(60).astype(np.float32) / 60
    table = np.stack([1 - scores, scores], 1)
    out = mx.nd.contrib.MultiBoxDetection(
        mx.nd.array(table.T[None]), mx.nd.array(offsets.reshape(1, -1)), mx.nd.array(anchors[None]),
        threshold=0.49, nms_threshold=0.45, clip=True,
    ).asnumpy()[0]  # fmt: skip

    context = TranslatorContext(model=None, attachments={"picture_size": (1, 1)})  # type: ignore[arg-type]  # it looks at none
    found = ObjectDetection(apply_softmax=False, threshold=0.49).process_output(context, (table, offsets, anchors))

    expected = out[out[:, 0] >= 0]
    np.testing.assert_allclose([item.probability for item in found], expected[:, 1], atol=1e-6)
    np.testing.assert_allclose([item.box for item in found], expected[:, 2:], atol=1e-6)
