"""Fixtures for every test: a broker of each kind, started once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.brokers import Broker, embedded_broker, find_mosquitto, mosquitto_broker


@pytest.fixture(scope="session")
def embedded() -> Iterator[Broker]:
    with embedded_broker() as broker:
        yield broker


@pytest.fixture(scope="session")
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
