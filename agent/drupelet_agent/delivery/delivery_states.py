"""Makes the delivery states that the device publishes, and publishes each when it differs from the latest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drupelet_agent.delivery.reconciler import Decision, GivenUp, InSync, Wait
from drupelet_agent.mqtt.message import Publication
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.sources import shown_source
from drupelet_shared.contract.topics import DeviceTopics


def started_state(model: str, desired: DesiredState) -> DeliveryState:
    """Return the state of a model whose package has just begun to be fetched, or installed if it was uploaded."""
    return _state(model, desired, "installing" if desired.source.startswith("upload:") else "fetching")


def progress_state(model: str, desired: DesiredState, progress: Mapping[str, object]) -> DeliveryState:
    """Return the state of a model whose package is being fetched or installed.

    Args:
        model: The model.
        desired: Its desired state.
        progress: The latest progress message of the command.
    """
    fetching = progress["stage"] == "fetching"
    return _state(model, desired, "fetching" if fetching else "installing").model_copy(
        update={
            "stage": None if fetching else progress["stage"],
            "done_bytes": progress.get("done_bytes"),
            "total_bytes": progress.get("total_bytes"),
        }
    )


def decided_state(model: str, desired: DesiredState, decision: Decision) -> DeliveryState:
    """Return the state of a model for which no command is running.

    Args:
        model: The model.
        desired: Its desired state.
        decision: The next step for it.
    """
    match decision:
        case InSync():
            return _state(model, desired, "in_sync")
        case GivenUp(code, error):
            return _state(model, desired, "failed").model_copy(update={"code": code, "error": error})
        case Wait(failure):
            details = {
                "code": failure.code,
                "error": failure.error,
                "failures": failure.count,
                "retry_in_s": round(failure.delay_s, 1),
            }
            return _state(model, desired, "failed").model_copy(update=details)
        case _:
            return _state(model, desired, "waiting")


def _state(model: str, desired: DesiredState, state: str) -> DeliveryState:
    return DeliveryState.model_validate(
        {
            "model": model,
            "state": state,
            "version": desired.version,
            "digest": desired.digest,
            "source": shown_source(desired.source),
        }
    )


class DeliveryPublisher:
    """Publishes the delivery state of each model, and no state twice in a row."""

    def __init__(self, topics: DeviceTopics, *, publish: Callable[[Publication], None]) -> None:
        """Start with nothing published.

        Args:
            topics: The topics of the device.
            publish: Sends a publication to the broker.
        """
        self._topics = topics
        self._publish = publish
        self._latest: dict[str, DeliveryState] = {}

    def publish(self, state: DeliveryState) -> None:
        """Publish the state of a model, unless it was the latest."""
        if self._latest.get(state.model) != state:
            self.publish_once(state)
            self._latest[state.model] = state

    def publish_once(self, state: DeliveryState) -> None:
        """Publish the state of a model without remembering it."""
        self.forget(state.model)
        self._publish(Publication(self._topics.delivery(state.model), state.to_bytes(), retain=True))

    def withdraw(self, model: str) -> None:
        """Delete the retained state of a model at the broker."""
        self.forget(model)
        self._publish(Publication(self._topics.delivery(model), b"", retain=True))

    def forget(self, model: str) -> None:
        """Publish the next state of a model in any case."""
        self._latest.pop(model, None)

    def forget_all(self) -> None:
        """Publish the next state of every model in any case."""
        self._latest.clear()
