"""The compiler's own errors; those of packages and requests are in `drupelet_shared.errors`.

DrupeletError
|-- RecipeError            recipe_invalid
|-- SettingsError          settings_invalid
|-- OutputError            output_failed
|-- StorageError           storage_failed
|-- DataError              data_invalid
|-- ModelError             model_invalid
|   `-- ExportError        export_failed
|-- ConstraintError        constraint_not_met
|-- LatencyError           latency_unknown
|   |-- EngineMissingError engine_missing
|   `-- PackageRefusedError candidates_refused
|-- MemoryLimitError       memory_limit_exceeded
|-- ComputeError           compute_failed
|-- SweepError             sweep_failed
`-- RemoteError               remote_error
    |-- BrokerError           broker_unreachable
    |-- DeviceOfflineError    device_offline
    |-- DeviceRestartedError  device_restarted
    `-- ReplyTimeoutError     reply_timeout
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drupelet_shared.errors import DrupeletError

if TYPE_CHECKING:
    from drupelet_host.selection.continuation import SearchContinuation
    from drupelet_host.selection.frontier import JudgedCandidate


class RecipeError(DrupeletError):
    """A recipe with faults; the message lists all of them."""

    code = "recipe_invalid"


class SettingsError(DrupeletError):
    """A settings file with faults; the message lists all of them."""

    code = "settings_invalid"


class OutputError(DrupeletError):
    """Standard output cannot be written."""

    code = "output_failed"


class StorageError(DrupeletError):
    """The folder of the package or of the cache cannot be written, or has no room."""

    code = "storage_failed"


class DataError(DrupeletError):
    """Data that cannot be read or does not fit the model."""

    code = "data_invalid"


class ModelError(DrupeletError):
    """A model that cannot be loaded or does not do what a pass needs."""

    code = "model_invalid"


class ExportError(ModelError):
    """A model that cannot be turned into a deployable graph."""

    code = "export_failed"


class ConstraintError(DrupeletError):
    """The constraints were not reached; the message says how close the best came.

    Attributes:
        frontier: What the search judged, where there was a search.
        goes_on: How the search can go on; None if it cannot.

    Args:
        message: The message.
        frontier: The judged candidates, where there was a search.
        goes_on: How the search can go on; None if it cannot.
    """

    code = "constraint_not_met"

    def __init__(
        self,
        message: str,
        *,
        frontier: tuple[JudgedCandidate, ...] = (),
        goes_on: SearchContinuation[Any] | None = None,
    ) -> None:
        """Make the error.

        Args:
            message: How close the best candidate came.
            frontier: The candidates that the search judged.
            goes_on: How the search can go on, if the last measurement disagrees with it.
        """
        super().__init__(message)
        self.frontier = frontier
        self.goes_on = goes_on


class LatencyError(DrupeletError):
    """A latency source that cannot tell what a model costs on the target; nothing of the attempt is cached."""

    code = "latency_unknown"


class EngineMissingError(LatencyError):
    """A board without the engine of a model."""

    code = "engine_missing"


class PackageRefusedError(LatencyError):
    """A package of candidates that is too large for a board."""

    code = "candidates_refused"


class MemoryLimitError(DrupeletError):
    """A model that needs more memory than the device's limit; the message has both numbers."""

    code = "memory_limit_exceeded"


class ComputeError(DrupeletError):
    """The workers that compute a compile's tasks cannot be started or reached, or died again and again."""

    code = "compute_failed"


class SweepError(DrupeletError):
    """Runs of a sweep failed; the message names them, and their results say why."""

    code = "sweep_failed"


class RemoteError(DrupeletError):
    """The device refused a request, or something between it and the client failed.

    Attributes:
        device_code: The code of the device's own error, where the device answered with one.

    Args:
        message: The message.
        device_code: The device's error code, where the device replied with one.
    """

    code = "remote_error"

    def __init__(self, message: str, *, device_code: str | None = None) -> None:
        """Make the error.

        Args:
            message: What failed.
            device_code: The code of the device's own error; None if the device did not answer with one.
        """
        super().__init__(message)
        self.device_code = device_code


class BrokerError(RemoteError):
    """The broker cannot be reached, or refuses a connection or a message."""

    code = "broker_unreachable"


class ReplyTimeoutError(RemoteError):
    """No answer arrived in time."""

    code = "reply_timeout"


class DeviceRestartedError(RemoteError):
    """The agent was restarted while it carried out a command."""

    code = "device_restarted"


class DeviceOfflineError(RemoteError):
    """The device is offline, or no device of that name has announced itself."""

    code = "device_offline"
