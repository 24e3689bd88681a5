"""The first recipe of a project, and data that stands in for a person's own until there is some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drupelet_host.errors import StorageError
from drupelet_host.project.inspection import InspectedModel, sample_shape
from drupelet_host.recipe.model import CLASSIFICATION, INPUT_NAME, TFLITE_SUFFIX
from drupelet_shared.files import write_atomically
from drupelet_shared.tensors import NUMPY_DTYPE, Datatype, TensorSpec

RECIPE_FILE, DATA_FILE = "recipe.toml", "data.py"
_SAMPLES = {"train": 64, "validation": 64}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person said of the model.

    Attributes:
        name: What devices and clients call it.
        source: The file, or the factory "file.py:callable", relative to the recipe's folder.
        weights: The state_dict of a factory's module, likewise.
        is_factory: Whether `source` is a factory, whose inputs the recipe states.
        labels: The file of labels, likewise.
    """

    name: str
    source: str
    weights: str | None = None
    is_factory: bool = False
    labels: str | None = None


def write_project(folder: Path, draft: Draft, model: InspectedModel, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Write the recipe and the data file.

    Args:
        folder: Where they go.
        draft: What a person said.
        model: What was found out.
        overwrite: Whether files that are there may be replaced.

    Returns:
        The paths of the recipe and of the data file.

    Raises:
        StorageError: A file is there already, or cannot be written.
    """
    files = {
        folder / RECIPE_FILE: draft_recipe(draft, model),
        folder / DATA_FILE: draft_data(model, is_module=draft.is_factory),
    }
    try:
        there = [str(path) for path in files if path.exists()]
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from error
    if there and not overwrite:
        raise StorageError(
            f"{' and '.join(there)} {'exists' if len(there) == 1 else 'exist'}: choose another folder with --output, "
            "or replace what is there with --force"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_atomically(path, text.encode())
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from error
    recipe, data = files
    return recipe, data


def draft_recipe(draft: Draft, model: InspectedModel) -> str:
    """Return a commented recipe that compiles."""
    source = "factory" if draft.is_factory else "file"
    lines = [
        "# The model that drupelet compiles, and what the result must reach. All keys: `drupelet schema recipe`.",
        "[model]",
        f"name = {_quote(draft.name)}",
        'version = "1.0.0"',
        "release = 1                # raise it with every package: devices refuse to go back",
        f"{source} = {_quote(draft.source)}",
    ]
    if draft.weights is not None:
        lines.append(f"weights = {_quote(draft.weights)}")
    if draft.is_factory:
        if draft.weights is None:
            lines.append('# weights = "weights.pt"   # the state_dict of the trained network')
        lines += _input_lines(model.inputs)
    lines.append(f"task = {_quote(model.task)}{_explain_task(model)}")
    lines.append(_labels_line(draft, model))
    lines += ["", "[data]                     # data.py: your samples go there", f'train = "{DATA_FILE}:train"']
    lines += [f'validation = "{DATA_FILE}:validation"', "", "[constraints]"]
    lines += [
        "# max_metric_drop = 0.01   # at most one point of the metric may be lost",
        '# max_size = "500KB"',
        "# max_latency = 0.5        # half the original's time",
        "",
        *_image_lines(model),
    ]
    if model.may_detect:
        lines += ['# [detection]              # with task = "detection" above: an image is answered with boxes']
        lines += ['# form = "yolov8"           # the form of the outputs; see the guide to detectors', ""]
    if draft.source.endswith(TFLITE_SUFFIX):
        lines += ["[export]", 'engines = ["litert"]', ""]
    lines += ["[output]", 'folder = "build"', '# key = "maker.key"        # `drupelet keygen maker`; signs the package']
    return "\n".join(lines) + "\n"


def draft_data(model: InspectedModel, *, is_module: bool) -> str:
    """Return a data file of random samples, to be replaced.

    Args:
        model: The model.
        is_module: Whether samples are stacked in one array, as for a module, or are a dictionary each.
    """
    image = model.image
    shapes = {spec.name: list(sample_shape(spec, image=image)) for spec in model.inputs}
    about = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    body = _module_body(model.inputs) if is_module else _file_body(model.inputs, shapes)
    functions = "\n\n\n".join(_function(part, seed=seed) for seed, part in enumerate(_SAMPLES))
    return (
        f'"""Samples for {about}.\n\n'
        "RANDOM NUMBERS STAND HERE: the package compiles and says nothing of your model. Put your own samples in\n"
        "their place, prepared as they were for training; hundreds do for int8, pruning takes all training data.\n"
        f'"""\n\nimport numpy as np\n\n\n{body}\n\n\n{functions}\n'
    )


def _function(part: str, *, seed: int) -> str:
    count, rest = _SAMPLES[part], "" if part == "train" else " that are not among those of train"
    return f'def {part}():\n    """Return {count} samples{rest}."""\n    return draw({count}, seed={seed})'


def _module_body(inputs: tuple[TensorSpec, ...]) -> str:
    if _is_plain(inputs):
        values = _random_values(inputs[0], _stacked(inputs[0]))
    else:
        entries = [
            f"        {_quote(spec.name)}: {_random_values(spec, f'(count, *{list(spec.shape[1:])})')},\n"
            for spec in inputs
        ]
        values = "{\n" + "".join(entries) + "    }"
    return (
        "def draw(count, seed):\n"
        '    """Return inputs of shape (count, ...) and their labels; None without labels."""\n'
        "    random = np.random.default_rng(seed)\n"
        f"    inputs = {values}\n"
        "    labels = None\n"
        "    return inputs, labels"
    )


def _stacked(spec: TensorSpec) -> str:
    """Return the Python expression of the shape of `count` samples."""
    sizes = ", ".join(map(str, spec.shape[1:]))
    return f"(count, {sizes})"


def _file_body(inputs: tuple[TensorSpec, ...], shapes: dict[str, list[int]]) -> str:
    entries = "\n".join(
        f"            {_quote(spec.name)}: {_random_values(spec, str(shapes[spec.name]))}," for spec in inputs
    )
    return (
        "def draw(count, seed):\n"
        '    """Return the inputs of each inference by name, batch first, or a pair of them and the labels."""\n'
        "    random = np.random.default_rng(seed)\n"
        "    return [\n        {\n"
        f"{entries}\n"
        "        }\n        for _ in range(count)\n    ]"
    )


def _random_values(spec: TensorSpec, shape: str) -> str:
    """Return the Python expression of an input's values; integers are 0 or 1, which every vocabulary has."""
    if spec.datatype is Datatype.BYTES:
        return f"np.full({shape}, b'text', object)"
    if spec.datatype is Datatype.BOOL:
        return f"random.random({shape}) < 0.5"
    name = np.dtype(NUMPY_DTYPE[spec.datatype]).name
    if name.startswith("float"):
        return f"random.random({shape}).astype(np.{name})"
    return f"random.integers(0, 2, {shape}).astype(np.{name})"


def _is_plain(inputs: tuple[TensorSpec, ...]) -> bool:
    """Return whether `input_shape` states the inputs."""
    return [(spec.name, spec.datatype) for spec in inputs] == [(INPUT_NAME, Datatype.FP32)]


def _input_lines(inputs: tuple[TensorSpec, ...]) -> list[str]:
    if _is_plain(inputs):
        return [f"input_shape = {list(inputs[0].shape)}"]
    entries = [
        f"    {{ name = {_quote(spec.name)}, shape = {list(spec.shape)}, datatype = {_quote(spec.datatype)} }},"
        for spec in inputs
    ]
    return ["inputs = [                 # in the order of the network's forward", *entries, "]"]


def _image_lines(model: InspectedModel) -> list[str]:
    image = model.image
    if image is None:
        return []
    lines = ["[image]                    # so that a device takes JPEG and PNG; (pixel / 255 - mean) / std"]
    lines += [f'color = "{image.color}"', f'layout = "{image.layout}"']
    lines += [f"height = {image.height or 224}", f"width = {image.width or 224}"]
    lines += ['resize = "stretch"         # or "crop" or "letterbox", as the network was trained']
    lines += ["# mean = [0.485, 0.456, 0.406]", "# std = [0.229, 0.224, 0.225]", ""]
    return lines


def _explain_task(model: InspectedModel) -> str:
    if model.task == CLASSIFICATION:
        return ""
    return '   # "detection", "segmentation" and "anomaly" have sections of their own; any other name is for people'


def _labels_line(draft: Draft, model: InspectedModel) -> str:
    if draft.labels is not None:
        return f"labels = {_quote(draft.labels)}"
    count = f"{model.classes} " if model.classes else ""
    return f'# labels = "labels.txt"    # {count}labels, one a line'


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
