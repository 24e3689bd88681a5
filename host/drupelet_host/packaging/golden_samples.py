"""Selects the samples of a variant's golden vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.inference.loopback import LoopbackSession
from drupelet_shared.package.golden import GoldenVectors, record_golden

_MOST_SAMPLES = 4
# Limits: a device runs them at each activation, and they are part of the package.
_MOST_BYTES = 4_000_000


def record_samples(session: Session, feeds: Sequence[Tensors]) -> GoldenVectors:
    """Return golden vectors of up to four samples, fewer where they are large, spread over the data.

    Spread, because the first samples of sorted data all belong to one class. The file holds one shape for each tensor,
    so samples with other shapes than the first one's are skipped. Inputs and outputs pass the codec of requests, as on
    the device.
    """
    session = LoopbackSession(session)
    names = [spec.name for spec in session.outputs]
    first = feeds[0]
    answer = session.run(first, names)
    size = sum(array.nbytes for array in (*first.values(), *answer.values()))
    count = max(1, min(_MOST_SAMPLES, len(feeds), _MOST_BYTES // max(1, size)))
    spread = [feeds[position * len(feeds) // count] for position in range(count)]
    alike = [feed for feed in spread if _same_shapes(feed, first) and _same_shapes(session.run(feed, names), answer)]
    return record_golden(session, [dict(feed) for feed in alike])


def _same_shapes(answers: Tensors, reference: Tensors) -> bool:
    return all(np.shape(answers[name]) == np.shape(array) for name, array in reference.items())
