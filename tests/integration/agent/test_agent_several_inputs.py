"""Packages with several inputs and integers over MQTT: the device answers as the packed file does here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from drupelet import BrokerAddress, DeviceClient, compile_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.reading import UnpackedPackage, unpack_package
from support.agent.agents import run_agent_command, running_agent
from support.agent.sites import make_site
from support.broker.brokers import Broker
from support.model.several_inputs import draw_feeds, several_inputs_recipe, write_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NAMES = ("image-and-metadata", "tokens")
Served = tuple[DeviceClient, dict[str, UnpackedPackage], dict[str, str]]


@pytest.fixture(scope="module")
def served(embedded: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = make_site(tmp_path_factory.mktemp("site"))
    config, packages, variants = site.configure(embedded), dict[str, UnpackedPackage](), dict[str, str]()
    for name in NAMES:
        folder = write_network(site.folder / name, name)
        # What is asked for here is the way to the device: one step of pruning without recovery is enough.
        sections = {"prune": {"prune_ratio": 0.25, "iterations": 1, "importance": "l2", "recovery": {"epochs": 1}}}
        sections |= {"output": {"key": str(site.keys.private)}, "constraints": {"metric_floor": 0.0}}
        package = compile_recipe(several_inputs_recipe(folder, name, **sections)).package
        assert package is not None
        packages[name] = unpack_package(package, folder / "unpacked", trusted_keys=None)
        run_agent_command(config, "install", str(package))
    with site.listener(embedded) as heard, running_agent(config):
        for name in NAMES:
            variants[name] = heard.wait_for(site.topics.model_state(name), health="ready")["variant"]
        with DeviceClient(site.topics.device, broker=BrokerAddress(embedded.host, embedded.port)) as client:
            yield client, packages, variants


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("binary", [True, False])
def test_the_device_answers_as_the_packed_file(served: Served, name: str, *, binary: bool) -> None:
    client, packages, variants = served
    package = packages[name]
    (variant,) = [variant for variant in package.manifest.variants if variant.id == variants[name]]
    session = load_engine(variant.engine).load(package.folder / variant.path, threads=1)
    for feed in draw_feeds(name, 4, seed=9):
        reply = client.infer(name, feed, timeout_s=20, binary=binary)
        expected = session.run(feed, [spec.name for spec in session.outputs])
        assert set(reply.outputs) == set(expected)
        for output, values in expected.items():
            np.testing.assert_allclose(reply.outputs[output], values, rtol=1e-5, atol=1e-6)
