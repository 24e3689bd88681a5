"""The latency table of a target as a latency source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from drupelet_host.errors import LatencyError, ModelError
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.machine import WORKSTATION, modelled_for
from drupelet_host.latency.modelled.estimate import estimate_stored
from drupelet_host.latency.modelled.files import read_file_layers
from drupelet_host.latency.modelled.table import LatencyTable
from drupelet_host.latency.source import (
    DEFAULT_PRECISION,
    EstimateError,
    LatencyAnswers,
    LatencyEstimate,
    LatencySource,
    Percentile,
)
from drupelet_shared.engines.base import Tensors
from drupelet_shared.timing import Interval


class TableSource:
    """A model of the target's processor: adds up what the layers of a file take there, each in its own precision.

    It measures nothing. The interval of an estimate is the range in which a board's median is expected.
    """

    is_quick = True

    def __init__(
        self,
        table: LatencyTable,
        *,
        fallback: LatencySource | None = None,
        on_event: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Use a table.

        Args:
            table: The target's table.
            fallback: Answers in place of the table where an original has layers that the table does not know; None
                makes that an error.
            on_event: Receives, once, that the fallback answers.
        """
        self._table = table
        self._fallback = fallback
        self._on_event = on_event
        self._has_told = False

    @property
    def label(self) -> str:
        """Where the numbers come from, for people."""
        return modelled_for(self._table.target)

    @property
    def fingerprint(self) -> str:
        """The version of the table."""
        return f"table {self._table.label}" + (f" or {self._fallback.fingerprint}" if self._fallback else "")

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> LatencyAnswers:
        """Estimate the models; see `LatencySource.measure`.

        Args:
            models: The model files by name.
            feed: The inputs of one inference, whose sizes count where a file leaves them open.
            references: The names of the originals.
            precision: What only the fallback can aim for: the range of an estimate is what it is.
            percentile: The percentile that is limited; an estimate is of the median.

        Returns:
            One estimate for each model by name, or why there is none.

        Raises:
            LatencyError: An original cannot be estimated and there is no fallback.
        """
        answers = {name: self._estimate(path, feed) for name, path in models.items()}
        for name in references or models:
            answer = answers[name]
            if not isinstance(answer, LatencyError):
                continue
            if self._fallback is None:
                raise answer
            self._tell(answer)
            return self._fallback.measure(
                models, feed=feed, references=references, precision=precision, percentile=percentile
            )
        return answers

    def _estimate(self, path: Path, feed: Tensors) -> LatencyEstimate | LatencyError:
        try:
            return _estimate(path, self._table, feed)
        except (ModelError, ImportError) as error:
            return LatencyError(f"{self.label}: no estimate: {error}")

    def _tell(self, reason: LatencyError) -> None:
        if not self._has_told:
            self._has_told = True
            self._on_event(f"{reason}; times are {WORKSTATION} instead")


def estimate_file_latency(path: Path, table: LatencyTable, *, feed: Tensors) -> LatencyEstimate | None:
    """Return what a model file takes on the target, each layer in its own precision; None if it is not known.

    Args:
        path: The model file.
        table: The target's table.
        feed: The inputs of one inference, whose sizes count where the file leaves them open.
    """
    try:
        return _estimate(path, table, feed)
    except (ModelError, ImportError):
        return None


def _estimate(path: Path, table: LatencyTable, feed: Tensors) -> LatencyEstimate:
    estimate = estimate_stored(read_file_layers(path, feed=feed), table, engine_of(path))
    return LatencyEstimate(
        p50_ms=estimate.ms,
        interval=Interval(estimate.low_ms, estimate.high_ms),
        source=estimate.source,
        error=EstimateError(
            basis=f"{estimate.engine} {estimate.precision}",
            shared=estimate.model_error,
            own=estimate.table_error,
        ),
        layers_ms={layer.shape.name: layer.ms for layer in estimate.layers} or None,
    )
