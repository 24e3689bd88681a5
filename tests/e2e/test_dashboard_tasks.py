"""The dashboard draws the answers of detectors and segmentation models onto the image that was dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drupelet import compile_recipe
from support.agent.agents import run_agent_command, running_agent
from support.agent.sites import make_site
from support.broker.brokers import embedded_broker
from support.model.task_project import TASKS, save_picture, signed_recipes
from support.screen.browser import Page, find_chromium, open_browser
from support.screen.dashboards import running_dashboard

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium")

SCALE = 8


@dataclass(frozen=True)
class Shown:
    """A device's page, and what is in the picture."""

    page: Page
    picture: Path
    boxes: np.ndarray
    indices: np.ndarray
    classes: np.ndarray

    def drop(self, model: str) -> np.ndarray:
        """Drop the picture on a model's form, and return the pixels that it then shows: (height, width, 4)."""
        section = f"section[aria-label='Model {model}']"
        self.page.wait_for(f'document.querySelector("{section} .drop") !== null')
        self.page.drop_file(f"{section} .drop", self.picture.read_bytes(), "picture.png")
        self.page.wait_for(f'document.querySelector("{section} .answer canvas") !== null')
        pixels = self.page.evaluate(f"""(() => {{
          const canvas = document.querySelector("{section} .answer canvas");
          return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
        }})()""")
        return np.array(pixels).reshape(*self.classes.shape, 4)

    def color_of(self, index: int) -> list[int]:
        self.page.evaluate("import('/annotate.js').then(module => { window.colorOf = module.colorOf; })")
        self.page.wait_for("window.colorOf !== undefined")
        return list(self.page.evaluate(f"window.colorOf({index})"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    site = make_site(tmp_path_factory.mktemp("site"))
    picture, objects, classes = save_picture(site.folder / "picture.png", scale=SCALE)
    with embedded_broker() as broker:
        config = site.configure(broker)
        for recipe in signed_recipes(site.folder, site.keys.private):
            run_agent_command(config, "install", str(compile_recipe(recipe).package))
        with (
            site.listener(broker) as heard,
            running_agent(config),
            running_dashboard(broker) as served,
            open_browser(tmp_path_factory.mktemp("browser"), loopback=True) as page,
        ):
            for task in TASKS:
                heard.wait_for(heard.topics.model_state(task), health="ready")
            page.open(served.url)
            device = site.topics.device
            page.wait_for(f"document.querySelector(`#devices a[href='#device={device}']`) !== null")
            page.evaluate(f"document.querySelector(`#devices a[href='#device={device}']`).click()")
            yield Shown(page, picture, objects["boxes"] * SCALE, objects["labels"], classes)


def test_boxes_are_drawn_in_the_color_of_their_class(shown: Shown) -> None:
    pixels = shown.drop("detection")
    for (left, top, right, bottom), index in zip(shown.boxes.tolist(), shown.indices.tolist(), strict=True):
        middle = (top + bottom) // 2
        # A line lies half on each side of its edge.
        edge = pixels[middle, max(0, left - 1) : left + 2, :3]
        assert np.abs(edge - shown.color_of(index)).max(axis=1).min() < 140
        assert (pixels[middle, left + 4 : right - 4, :3].argmax(axis=1) == index).all()
    assert shown.page.complaints == []


def test_a_class_map_is_laid_over_the_image(shown: Shown) -> None:
    pixels = shown.drop("segmentation")
    # Half the picture, half the color of its class.
    for index in np.unique(shown.classes):
        mean = pixels[shown.classes == index][:, :3].mean(axis=0)
        color = np.array(shown.color_of(int(index)))
        assert np.abs(mean - color / 2).max() < 130
        assert (mean >= color / 2 - 20).all()
    text = shown.page.evaluate("document.querySelector(`section[aria-label='Model segmentation'] .answer`).innerText")
    assert "share of the image" in text
    assert shown.page.complaints == []
