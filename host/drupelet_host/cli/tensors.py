"""Conversion of files to request bodies, and of replies to tables, JSON and NumPy files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from drupelet_host.cli.output import console, print_json
from drupelet_host.errors import DataError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.wire import JSON_TYPE, sniff_content_type
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import ContentTypeError
from drupelet_shared.inference import (
    Encoded,
    InferenceReply,
    InferenceRequest,
    datatype_of,
    encode_reply,
    encode_request,
)
from drupelet_shared.postprocessing.anomaly import SCORE, THRESHOLD, VERDICT

_LABELLED = ("labels", "scores", "indices")
_BOXES = "boxes"
_BOX_HEADINGS = ("label", "score", "left", "top", "right", "bottom")
_SEGMENTS = ("labels", "fractions", "indices")
_SHOWN_VALUES = 8


def read_body(file: Path, *, input_name: str | None, describe: Callable[[], ModelState]) -> Encoded:
    """Read a file into a request body.

    Args:
        file: A JPEG or PNG image, an .npy or .npz file, or a JSON request.
        input_name: The input that an .npy file is for.
        describe: Returns the model's inputs; called only for an .npy file without `input_name`.

    Returns:
        The request body with its content type.

    Raises:
        DataError: The file cannot be read, or the input that an .npy file is for is ambiguous.
        ContentTypeError: The file has none of these formats.
    """
    if file.suffix in {".npy", ".npz"}:
        arrays = _load(file)
        if file.suffix == ".npy":
            arrays = {input_name or _only_input(describe()): arrays[""]}
        return encode_request(InferenceRequest(inputs=arrays, binary_output=True), binary=True)
    try:
        payload = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    if file.suffix == ".json":
        _check_json(file, payload)
    try:
        content_type = JSON_TYPE if file.suffix == ".json" else sniff_content_type(payload)
    except ContentTypeError as error:
        raise ContentTypeError(
            f"{file}: expected an image (JPEG or PNG), tensors (.npy or .npz) or a request (.json)"
        ) from error
    return Encoded(payload=payload, content_type=content_type, header_length=None)


def check_file(file: Path) -> None:
    """Check that a file has one of the formats of a request, without its device.

    Raises:
        DataError: The file cannot be read.
        ContentTypeError: The file has none of these formats.
    """
    # The input's name is all that the device would tell.
    read_body(file, input_name="input", describe=_describe_nothing)


def _check_json(file: Path, payload: bytes) -> None:
    try:
        request = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a JSON document: {error}") from error
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise DataError(f'{file}: expected a request of the Open Inference Protocol: {{"inputs": [...]}}')


def _describe_nothing() -> ModelState:
    raise AssertionError("the input has a name")


def print_reply(reply: InferenceReply, *, top: int | None) -> None:
    """Print a table of the labelled classes, the detected objects, the segments, the verdicts or the tensors.

    Args:
        reply: The reply.
        top: The number of classes or objects to print; all by default.

    Raises:
        DataError: `top` is given and the reply has no labelled classes or objects.
    """
    if top is not None and not _is_labelled(reply):
        raise DataError(
            f"model {reply.model_name!r}: --top {top} needs labelled classes, and the answer has the outputs "
            f"{', '.join(reply.outputs)}. Labels come from a model that was compiled with them, for an image"
        )
    if is_detection(reply) and not len(reply.outputs[_BOXES]):
        console.print("nothing found: no score reaches the threshold of the model")
    elif is_detection(reply):
        console.print(_boxes_table(reply, top=top))
    elif _is_labelled(reply):
        console.print(_classes_table(reply, top=top))
    elif is_segmentation(reply):
        console.print(_segments_table(reply))
    elif is_verdict(reply):
        console.print(_verdicts_table(reply))
    else:
        console.print(_tensors_table(reply))


def print_reply_json(reply: InferenceReply) -> None:
    """Print the reply as the protocol's JSON.

    Raises:
        InferenceFailedError: An output holds NaN or infinity, which JSON cannot represent.
    """
    print_json(json.loads(encode_reply(reply, InferenceRequest(inputs={})).payload))


def write_tensors(path: Path, reply: InferenceReply) -> None:
    """Write the reply's only tensor as .npy, or all tensors as .npz.

    Raises:
        DataError: The file cannot be written, or its format cannot hold the tensors.
    """
    arrays = {name: _without_objects(array) for name, array in reply.outputs.items()}
    try:
        if path.suffix == ".npz":
            np.savez(path, **arrays)  # type: ignore[arg-type] # numpy's stub reads the names as its own options
        elif path.suffix == ".npy" and len(arrays) == 1:
            np.save(path, next(iter(arrays.values())), allow_pickle=False)
        else:
            raise DataError(f"{path}: expected .npz for {len(arrays)} tensors, or .npy for one")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _without_objects(array: Array) -> Array:
    """Return text or bytes in a form that NumPy's files hold without pickling."""
    if array.dtype != object:
        return array
    return array.astype("U" if all(isinstance(element, str) for element in array.ravel()) else "S")


def _load(file: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file by name, or that of an .npy file under the empty name."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: no readable NumPy file: {error}") from error


def _only_input(state: ModelState) -> str:
    if state.inputs is None or len(state.inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in state.inputs or ()) or "unknown"
        raise DataError(f"model {state.model!r}: name the input with --input; its inputs: {names}")
    return state.inputs[0].name


def is_detection(reply: InferenceReply) -> bool:
    """Tell whether the reply is a detector's answer to an image."""
    boxes = reply.outputs.get(_BOXES)
    return _is_labelled(reply) and boxes is not None and boxes.shape == (len(reply.outputs["labels"]), 4)


def is_segmentation(reply: InferenceReply) -> bool:
    """Tell whether the reply is a segmentation model's answer to an image."""
    classes = reply.outputs.get("classes")
    return set(_SEGMENTS) <= set(reply.outputs) and classes is not None and classes.ndim == 2  # noqa: PLR2004 - a map


def is_verdict(reply: InferenceReply) -> bool:
    """Tell whether the reply is an anomaly detector's answer."""
    return set(reply.outputs) == {SCORE, VERDICT, THRESHOLD}


def _is_labelled(reply: InferenceReply) -> bool:
    """Tell whether the reply has labelled classes: a classifier's or detector's answer to an image."""
    arrays = [reply.outputs.get(name) for name in _LABELLED]
    shapes = {None if array is None else array.shape for array in arrays}
    labels = arrays[0]
    return len(shapes) == 1 and labels is not None and labels.ndim == 1 and labels.dtype == object


def _classes_table(reply: InferenceReply, *, top: int | None) -> Table:
    table = Table("rank", "label", "score", "index")
    columns = (reply.outputs[name].tolist() for name in _LABELLED)
    for rank, (label, score, index) in enumerate(list(zip(*columns, strict=True))[:top], start=1):
        table.add_row(str(rank), Text(str(label)), f"{score:.4f}", str(index))
    return table


def _boxes_table(reply: InferenceReply, *, top: int | None) -> Table:
    table = Table(*_BOX_HEADINGS)
    labels, scores, boxes = (reply.outputs[name].tolist() for name in ("labels", "scores", _BOXES))
    for label, score, box in list(zip(labels, scores, boxes, strict=True))[:top]:
        table.add_row(Text(str(label)), f"{score:.4f}", *(f"{side:.0f}" for side in box))
    return table


def _verdicts_table(reply: InferenceReply) -> Table:
    table = Table("verdict", "score", "threshold")
    (threshold,) = reply.outputs[THRESHOLD].tolist()
    for score, anomalous in zip(reply.outputs[SCORE].tolist(), reply.outputs[VERDICT].tolist(), strict=True):
        verdict = Text("anomaly", style="red") if anomalous else Text("normal")
        table.add_row(verdict, f"{score:.4g}", f"{threshold:.4g}")
    return table


def _segments_table(reply: InferenceReply) -> Table:
    table = Table("label", "share of the image", "index")
    for label, fraction, index in zip(*(reply.outputs[name].tolist() for name in _SEGMENTS), strict=True):
        table.add_row(Text(str(label)), f"{fraction:.1%}", str(index))
    return table


def _tensors_table(reply: InferenceReply) -> Table:
    table = Table("output", "datatype", "shape", "values")
    for name, array in reply.outputs.items():
        values = np.array2string(array.ravel(), threshold=_SHOWN_VALUES, edgeitems=3, precision=4, separator=", ")
        table.add_row(Text(name), datatype_of(array, what=name), Text(str(list(array.shape))), Text(values))
    return table
