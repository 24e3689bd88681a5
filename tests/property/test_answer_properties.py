"""Whatever a model gives, its answer is one that JSON can hold, or a failed inference: never another exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from drupelet_shared.errors import InferenceFailedError
from drupelet_shared.postprocessing.answer import Answerer
from drupelet_shared.postprocessing.geometry import fit_geometry
from drupelet_shared.postprocessing.specs import Detection, Segmentation

FORMS = {"yolov5": (1,), "yolov8": (1,), "yolov8-dfl": (1, 2), "boxes-scores": (2,), "ssd": (2,), "nms": (1, 3, 4)}
SIZES = st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8])
VALUES = st.sampled_from([0.0, 0.3, 0.9, 1.0, -1.0, 5.0, 70000.0, 1e30, float("nan"), float("inf"), float("-inf")])

Array = npt.NDArray[Any]


@st.composite
def outputs(draw: st.DrawFn) -> Array:
    """Return a tensor with a batch dimension of one, as models give it, or of any small shape."""
    shape = draw(st.one_of(st.tuples(st.just(1), SIZES, SIZES), st.lists(SIZES, max_size=4).map(tuple)))
    dtype = draw(st.sampled_from([np.float32, np.float32, np.int64, np.uint8]))
    elements = VALUES if dtype is np.float32 else st.integers(0, 9)
    return draw(arrays.arrays(dtype, shape, elements=elements, fill=st.just(0.9 if dtype is np.float32 else 1)))


@st.composite
def detectors(draw: st.DrawFn) -> tuple[Detection, Array | None]:
    form = draw(st.sampled_from(sorted(FORMS)))
    count = draw(st.sampled_from(FORMS[form]))
    priors = draw(arrays.arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=32))) if form == "ssd" else None
    settings = {
        "form": form,
        "outputs": [f"o{place}" for place in range(count)],
        "transposed": draw(st.booleans()),
        "activation": draw(st.sampled_from(["none", "sigmoid"])),
        "box_format": draw(st.sampled_from(["xyxy", "yxyx", "xywh", "cxcywh"])),
        "box_unit": draw(st.sampled_from(["pixels", "fraction"])),
        "background": draw(st.sampled_from([None, 0, 3])),
        "strides": (8, 16),
        "bins": 2,
        "priors": None if priors is None else "priors.npy",
        "score_threshold": draw(st.sampled_from([0.0, 0.5])),
    }
    return Detection.model_validate(settings), priors


@st.composite
def segmentations(draw: st.DrawFn) -> tuple[Segmentation, None]:
    settings = {
        "output": "o0",
        "layout": draw(st.sampled_from(["NCHW", "NHWC"])),
        "values": draw(st.sampled_from(["scores", "classes"])),
    }
    return Segmentation.model_validate(settings), None


@given(
    task=st.one_of(detectors(), segmentations()),
    given_outputs=st.lists(outputs(), min_size=4, max_size=4),
    image=st.sampled_from([(100, 50), (1, 1), (33, 700)]),
    resize=st.sampled_from(["stretch", "crop", "letterbox"]),
)
def test_an_answer_is_finite_and_whole_or_a_failed_inference(
    task: tuple[Detection | Segmentation, Array | None],
    given_outputs: list[Array],
    image: tuple[int, int],
    resize: str,
) -> None:
    spec, priors = task
    geometry = fit_geometry(image=image, tensor=(32, 24), resize=resize)
    named = {f"o{place}": values for place, values in enumerate(given_outputs)}
    try:
        answer = Answerer(spec, labels=("a", "b"), priors=priors).answer(named, geometry)
    except InferenceFailedError:
        return
    assert all(np.isfinite(values).all() for values in answer.values() if values.dtype.kind == "f")
    assert (answer["indices"] >= 0).all()
    assert len({len(values) for name, values in answer.items() if name != "classes"}) == 1
    if "classes" in answer:
        assert answer["classes"].shape == image[::-1]
