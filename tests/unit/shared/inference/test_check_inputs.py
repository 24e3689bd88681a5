from __future__ import annotations

import numpy as np
import pytest

from drupelet_shared.errors import InputDatatypeError, InputNameError, InputShapeError, RequestError
from drupelet_shared.inference import check_inputs
from drupelet_shared.tensors import Datatype, TensorSpec

SPECS = (
    TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, 3)),
    TensorSpec(name="text", datatype=Datatype.BYTES, shape=(1,)),
)
IMAGE = np.zeros((5, 3), np.float32)
TEXT = np.array([b"a"], dtype=object)


def test_the_tensors_a_model_takes_are_accepted_in_any_order() -> None:
    check_inputs({"text": TEXT, "image": IMAGE}, SPECS)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"image": IMAGE}, InputNameError, r"input 'text' is missing: the model takes 'image' \(FP32 \[-1, 3\]\), 'te"),
        ({"image": IMAGE, "text": TEXT, "x": TEXT}, InputNameError, r"input 'x' is unknown: the model takes 'image'"),
        ({"image": IMAGE.astype("f8"), "text": TEXT}, InputDatatypeError, r"'image' has datatype FP64: .* takes FP32"),
        ({"image": IMAGE[:, :2], "text": TEXT}, InputShapeError, r"'image' has shape \[5, 2\]: .* takes \[-1, 3\]"),
        ({"image": IMAGE[0], "text": TEXT}, InputShapeError, r"'image' has shape \[3\]"),
    ],
)
def test_other_tensors_are_refused_with_what_the_model_takes(
    inputs: dict[str, np.ndarray], error: type[RequestError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_inputs(inputs, SPECS)
