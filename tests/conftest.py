"""Fixtures for every test: a broker of each kind for each module, since retained messages stay."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.broker.brokers import Broker, embedded_broker, find_mosquitto, mosquitto_broker

# Read when PyTorch starts its threads: on a busy machine, threads that spin while they wait keep others from working.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell ignores interrupts in its background jobs, and every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No example fails because the machine is busy.
settings.register_profile("drupelet", deadline=None)
settings.load_profile("drupelet")


@pytest.fixture(scope="module")
def embedded() -> Iterator[Broker]:
    with embedded_broker() as broker:
        yield broker


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    with mosquitto_broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def broker(request: pytest.FixtureRequest) -> Broker:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Broker)
    return found
