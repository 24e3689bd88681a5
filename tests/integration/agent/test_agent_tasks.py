"""A detector and a segmentation model over MQTT: compiled, signed, installed, asked with the command a person types."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drupelet import compile_recipe
from support.agent.agents import Listener, run_agent_command, running_agent
from support.agent.commands import drupelet
from support.agent.sites import make_site
from support.broker.brokers import Broker
from support.model.task_project import LABELS, TASKS, save_picture, signed_recipes

SCALE = 6


@dataclass(frozen=True)
class Served:
    """A running agent that serves both models, how to ask it, and what is in the picture."""

    where: tuple[str, ...]
    picture: Path
    boxes: np.ndarray
    indices: np.ndarray
    classes: np.ndarray
    heard: Listener

    def infer(self, model: str, *options: str) -> str:
        return drupelet("infer", model, str(self.picture), *self.where, *options).stdout


@pytest.fixture(scope="module")
def served(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = make_site(tmp_path_factory.mktemp("site"))
    config = site.configure(embedded, extra="models.detection.count_labels = true")
    for recipe in signed_recipes(site.folder, site.keys.private):
        run_agent_command(config, "install", str(compile_recipe(recipe).package))
    picture, objects, classes = save_picture(site.folder / "picture.png", scale=SCALE)
    with site.listener(embedded) as heard, running_agent(config):
        for task in TASKS:
            heard.wait_for(site.topics.model_state(task), health="ready")
        yield Served(
            where=("--device", site.topics.device, "--broker", f"mqtt://{embedded.host}:{embedded.port}"),
            picture=picture,
            boxes=objects["boxes"] * SCALE,
            indices=objects["labels"],
            classes=classes,
            heard=heard,
        )


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_answer_has_the_objects_in_pixels_of_the_picture(served: Served) -> None:
    outputs = {output["name"]: output["data"] for output in json.loads(served.infer("detection", "--json"))["outputs"]}
    boxes = np.round(np.reshape(outputs["boxes"], (-1, 4))).tolist()
    expected = zip(served.boxes.tolist(), served.indices.tolist(), strict=True)
    assert sorted(zip(boxes, outputs["indices"], strict=True)) == sorted(expected)
    assert outputs["labels"] == [LABELS[index] for index in outputs["indices"]]


def test_the_labels_that_a_detector_finds_are_counted_in_its_telemetry_and_those_of_other_models_are_not(
    served: Served,
) -> None:
    served.infer("detection")
    counts = Counter(LABELS[index] for index in served.indices.tolist())
    found = served.heard.wait_for(served.heard.topics.model_telemetry("detection"), labels=dict(sorted(counts.items())))
    assert found["labels"]
    assert "labels" not in served.heard.wait_for(served.heard.topics.model_telemetry("segmentation"))


def test_the_table_lists_each_object(served: Served) -> None:
    text = served.infer("detection", "--top", "1")
    assert all(heading in text for heading in ("label", "score", "left", "top", "right", "bottom"))
    assert sum(text.count(label) for label in LABELS) == 1


def test_the_boxes_are_drawn_onto_the_picture(served: Served, tmp_path: Path) -> None:
    served.infer("detection", "--annotate", str(tmp_path / "boxes.png"))
    before, after = read_pixels(served.picture), read_pixels(tmp_path / "boxes.png")
    assert before.shape == after.shape
    changed = (before != after).any(axis=2)
    for left, top, right, bottom in served.boxes.tolist():
        # The outline is drawn, and between the labels what it encloses is still to be seen.
        assert changed[top + 16 : bottom - 16, left].all()
        assert not changed[top + 16 : bottom - 16, left + 2 : right - 2].any()


def test_the_class_map_has_the_size_of_the_picture(served: Served, tmp_path: Path) -> None:
    text = served.infer("segmentation", "--output", str(tmp_path / "map.npz"), "--annotate", str(tmp_path / "map.png"))
    assert "share of the image" in text
    with np.load(tmp_path / "map.npz") as arrays:
        assert arrays["classes"].shape == served.classes.shape
        assert (arrays["classes"] == served.classes).mean() > 0.99
    assert read_pixels(tmp_path / "map.png").shape[:2] == served.classes.shape


def test_an_answer_that_cannot_be_drawn_is_an_error(served: Served, tmp_path: Path) -> None:
    np.save(tmp_path / "tensor.npy", np.zeros((1, 3, 32, 32), np.float32))
    words = ("infer", "detection", str(tmp_path / "tensor.npy"), *served.where, "--annotate", str(tmp_path / "x.png"))
    done = drupelet(*words, status=1)
    assert "--annotate draws on an image" in done.stderr
    assert not (tmp_path / "x.png").exists()
