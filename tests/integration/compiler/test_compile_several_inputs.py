"""Networks with several inputs and with integers: pruned, quantized and packed like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from drupelet_host.compiler.start import start_compile
from drupelet_host.errors import DataError, RecipeError
from drupelet_shared.engines.registry import load_engine
from support.model.compiled import Compiled, compile_and_verify
from support.model.several_inputs import NETWORKS, draw_feeds, several_inputs_recipe, write_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PRUNED = {
    "image-and-metadata": {"picture.0", "picture.3", "numbers", "hidden"},
    "tokens": {"encoder.layers.0.linear1", "encoder.layers.1.linear1"},
    "siamese": {"branch.0", "branch.2"},
}

# The largest difference as a fraction of an output's largest value.
ALLOWED = {"fp32": 1e-3, "wf16": 1e-2, "dynamic-wi8": 0.15, "static-wi8-ai8": 0.15}


@pytest.fixture(scope="module", params=list(NETWORKS))
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = write_network(tmp_path_factory.mktemp("project"), request.param)
    return compile_and_verify(several_inputs_recipe(folder, request.param), folder / "unpacked")


def test_the_inputs_are_packed_in_their_order_with_names_and_datatypes(compiled: Compiled) -> None:
    stated = NETWORKS[compiled.manifest.name].inputs
    packed = [(spec.name, list(spec.shape), spec.datatype.value) for spec in compiled.manifest.inputs]
    assert packed == [(item["name"], item["shape"], item.get("datatype", "FP32")) for item in stated]


def test_the_layers_behind_every_input_are_pruned(compiled: Compiled) -> None:
    pruning = compiled.state.pruning
    assert pruning is not None
    narrower = {name for name, (before, after) in pruning.channels.items() if after < before}
    assert narrower >= PRUNED[compiled.manifest.name]


def test_the_packed_variants_answer_as_the_pruned_module(compiled: Compiled) -> None:
    training = compiled.state.require_training()
    feeds = draw_feeds(compiled.manifest.name, 16, seed=5)
    for variant in compiled.manifest.variants:
        session = load_engine("onnxruntime").load(compiled.package.folder / variant.path, threads=1)
        largest: dict[str, float] = {}
        pairs: list[tuple[str, npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
        for feed in feeds:
            with torch.inference_mode():
                returned = training.model(*(torch.from_numpy(values) for values in feed.values()))
            expected = returned if isinstance(returned, dict) else {"output": returned}
            answer = session.run(feed, list(expected))
            for name, values in expected.items():
                largest[name] = max(largest.get(name, 0.0), float(values.abs().max()))
                pairs.append((name, answer[name], values.numpy()))
        # A distance can be zero: an error counts against the largest answer.
        for name, actual, reference in pairs:
            np.testing.assert_allclose(actual, reference, rtol=0, atol=ALLOWED[variant.precision] * largest[name])


def test_int8_keeps_the_metric(compiled: Compiled) -> None:
    static = compiled.state.measurements["ort-static-wi8-ai8"]
    assert static.metric >= 0.9 * compiled.state.reference.metric


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("return {'picture': np.zeros((4, 1, 8, 8))}", r"has \['picture'\]: the model takes picture, numbers, place"),
        ("return np.zeros((4, 1, 8, 8), np.float32)", "inputs are a ndarray: the model takes picture, numbers, place"),
        (
            "return {'picture': np.zeros((4, 1, 8, 8)), 'numbers': np.zeros((4, 5)), 'place': np.full((4, 1), 0.5)}",
            "input 'place' holds float64 values: the model takes INT64",
        ),
        (
            "return {'picture': np.zeros((4, 1, 8, 8)), 'numbers': np.zeros((3, 5)), 'place': np.zeros((4, 1), int)}",
            "the inputs have different numbers of samples",
        ),
        (
            "return {'picture': np.zeros((4, 1, 9, 8)), 'numbers': np.zeros((4, 5)), 'place': np.zeros((4, 1), int)}",
            r"input 'picture' of a sample has shape \[1, 9, 8\]: the model takes \[1, 8, 8\]",
        ),
    ],
)
def test_data_that_does_not_fit_the_inputs_is_refused(tmp_path: Path, data: str, message: str) -> None:
    folder = write_network(tmp_path, "image-and-metadata")
    (folder / "bad.py").write_text(f"import numpy as np\n\n\ndef train():\n    {data}\n")
    recipe = several_inputs_recipe(
        folder, "image-and-metadata", data={"train": "bad.py:train", "validation": "project.py:validation"}
    )
    with pytest.raises(DataError, match=message):
        start_compile(recipe, tmp_path)


def test_an_npz_file_has_an_array_for_each_input(tmp_path: Path) -> None:
    folder = write_network(tmp_path, "image-and-metadata")
    for part, seed in (("train", 1), ("validation", 2)):
        arrays, labels = NETWORKS["image-and-metadata"].draw(32, np.random.default_rng(seed))
        np.savez(folder / f"{part}.npz", labels=labels, **arrays)
    data = {"train": "train.npz", "validation": "validation.npz"}
    state = start_compile(several_inputs_recipe(folder, "image-and-metadata", data=data), tmp_path)
    assert {name: values.dtype for name, values in state.samples.feeds[0].items()} == {
        "picture": np.float32,
        "numbers": np.float32,
        "place": np.int64,
    }


def test_an_image_becomes_the_input_that_the_recipe_names(tmp_path: Path) -> None:
    folder = write_network(tmp_path, "image-and-metadata")
    image = {"color": "gray", "height": 8, "width": 8}
    recipe = several_inputs_recipe(folder, "image-and-metadata", image={**image, "input": "picture"})
    assert recipe.image is not None
    with pytest.raises(RecipeError, match=r"image\.input = 'input': expected the input that an image becomes: picture"):
        several_inputs_recipe(folder, "image-and-metadata", image=image)
