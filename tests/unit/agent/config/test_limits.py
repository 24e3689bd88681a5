"""The section `[limits]`: how memory is divided between models and messages."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.limits import LimitsConfig
from drupelet_agent.config.section import Section
from drupelet_agent.config.tuning import ContractConfig

MIB = 2**20


def test_messages_have_eight_payloads_by_default() -> None:
    limits = LimitsConfig(max_payload=MIB)
    assert (limits.messages_bytes, limits.models_bytes) == (8 * MIB, None)


def test_messages_have_at_most_an_eighth_of_the_memory_by_default() -> None:
    limits = LimitsConfig(max_payload=16 * MIB, memory=80 * MIB)
    assert (limits.messages_bytes, limits.models_bytes) == (10 * MIB, 70 * MIB)
    assert LimitsConfig(max_payload=MIB, memory=80 * MIB).messages_bytes == 8 * MIB


def test_a_configured_memory_for_messages_is_taken_from_the_whole() -> None:
    limits = LimitsConfig(memory=80 * MIB, messages=30 * MIB)
    assert (limits.messages_bytes, limits.models_bytes) == (30 * MIB, 50 * MIB)


def test_messages_must_leave_something_for_models() -> None:
    with pytest.raises(ValidationError, match="messages is a part of memory: it must be smaller"):
        LimitsConfig(memory=80 * MIB, messages=80 * MIB)
    assert LimitsConfig(memory=80 * MIB, messages=80 * MIB - 1).models_bytes == 1


class TestSection:
    @pytest.mark.parametrize("section", [AgentConfig, LimitsConfig, ContractConfig])
    def test_every_section_is_immutable_and_refuses_unknown_keys(self, section: type[Section]) -> None:
        assert issubclass(section, Section)
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            section.model_validate({"colour": "blue"})
        made = section()
        with pytest.raises(ValidationError, match="frozen"):
            setattr(made, next(iter(section.model_fields)), None)


class TestContract:
    def test_the_stricter_of_the_two_limits_applies(self) -> None:
        contract = ContractConfig(p99_ms=50.0, factor=2.0)
        assert contract.p99_limit_ms(20.0) == 40.0
        assert contract.p99_limit_ms(30.0) == 50.0

    def test_one_limit_alone_applies_and_none_is_none(self) -> None:
        assert ContractConfig(p99_ms=50.0).p99_limit_ms(1.0) == 50.0
        assert ContractConfig(factor=3.0).p99_limit_ms(2.0) == 6.0
        assert ContractConfig().p99_limit_ms(1.0) is None


class TestModels:
    CONFIG = AgentConfig.model_validate(
        {
            "tuning": {"objective": "throughput", "max_p99_ms": 9.0, "runs": 7},
            "contract": {"p99_ms": 100.0, "window_s": 5.0},
            "models": {"digits": {"objective": "latency"}, "faces": {"contract": {"factor": 2.0}}},
        }
    )

    def test_a_setting_of_a_model_replaces_that_of_the_section_alone(self) -> None:
        tuning = self.CONFIG.tuning_of("digits")
        assert (tuning.objective, tuning.max_p99_ms, tuning.runs) == ("latency", 9.0, 7)
        assert self.CONFIG.tuning_of("other") == self.CONFIG.tuning

    def test_a_contract_of_a_model_replaces_the_whole_section(self) -> None:
        assert self.CONFIG.contract_of("faces") == ContractConfig(factor=2.0)
        assert self.CONFIG.contract_of("digits") == self.CONFIG.contract
