"""A compile from a recipe to a package."""

from __future__ import annotations

import tempfile
from pathlib import Path

from drupelet_host.data.dataset import Dataset, check_fits
from drupelet_host.data.sources import load_source
from drupelet_host.errors import DataError, ModelError
from drupelet_host.model_source import check_runs, load_model
from drupelet_host.passes import make_pass, passes_of
from drupelet_host.pipeline import Pipeline
from drupelet_host.progress import SILENT, Observer
from drupelet_host.recipe import Recipe
from drupelet_host.state import CompileState

_MATRIX_RANK = 2


def compile_recipe(recipe: Recipe, *, observer: Observer = SILENT) -> CompileState:
    """Run every pass.

    Args:
        recipe: What to compile.
        observer: Is told what happens.

    Returns:
        The last state; its `workspace` and the model files in it are gone, `package` is where the result lies.

    Raises:
        ModelError: The model cannot be loaded, traced or exported.
        DataError: The data cannot be read or does not fit the model.
        ConstraintError: No variant meets the constraints; nothing was written.
        DrupeletError: Anything else, as the passes say.
    """
    model = load_model(recipe.model)
    classes = _count_classes(recipe, check_runs(model, recipe.model.input_shape))
    train, validation = _load_data(recipe, classes)
    pipeline = Pipeline([make_pass(name, recipe) for name in passes_of(recipe)], observer=observer)
    with tempfile.TemporaryDirectory(prefix="drupelet-compile-") as folder:
        return pipeline.run(
            CompileState(workspace=Path(folder), original=model, model=model, train=train, validation=validation)
        )


def _count_classes(recipe: Recipe, output_shape: tuple[int, ...]) -> int:
    if len(output_shape) != _MATRIX_RANK:
        raise ModelError(f"model gives an output of shape {list(output_shape)}: {recipe.model.task} needs [1, classes]")
    labels = len(recipe.model.labels)
    if labels and labels != output_shape[1]:
        raise ModelError(f"model.labels has {labels} entries: the model gives {output_shape[1]} scores")
    return output_shape[1]


def _load_data(recipe: Recipe, classes: int) -> tuple[Dataset, Dataset]:
    sources = {"train": recipe.data.train, "validation": recipe.data.validation}
    loaded = {}
    for what, source in sources.items():
        loaded[what] = load_source(source, image=recipe.image, labels=recipe.model.labels, what=what)
        check_fits(loaded[what], input_shape=recipe.model.input_shape, classes=classes, source=f"{what} data")
    if loaded["validation"].labels is None:
        raise DataError(f"validation data: has no labels: {recipe.model.task} is measured with them")
    return loaded["train"], loaded["validation"]
