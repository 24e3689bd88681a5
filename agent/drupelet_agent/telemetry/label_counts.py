"""How often each label or verdict was in the answers of a model, for models whose configuration asks for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

# Workers write the replies, and the package defines the labels: both are bounded here.
MAX_LABELS = 64
_MAX_CHARACTERS = 64
OTHER = "other"
ANOMALY, NORMAL = "anomaly", "normal"


class LabelCounts:
    """Counts labels of replies over one telemetry window."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._counts: Counter[str] = Counter()

    def record(self, reply: bytes) -> None:
        """Count the labels of a reply with boxes, or the verdicts of one with verdicts; any other counts nothing."""
        for label in find_labels(reply):
            name = label[:_MAX_CHARACTERS]
            is_known = name in self._counts or len(self._counts) < MAX_LABELS
            self._counts[name if is_known else OTHER] += 1

    def end_window(self) -> dict[str, int]:
        """Return the counts by label, and start again."""
        counts, self._counts = dict(sorted(self._counts.items())), Counter()
        return counts


def find_labels(reply: bytes) -> list[str]:
    """Return the labels of the boxes in a JSON reply (contract, section 4), or its verdicts; empty without both."""
    # Cheaper than to parse what cannot have any.
    if b'"boxes"' not in reply and b'"is_anomaly"' not in reply:
        return []
    try:
        outputs = json.loads(reply)["outputs"]
        tensors = {output["name"]: output["data"] for output in outputs}
        if "is_anomaly" in tensors:
            return [ANOMALY if verdict else NORMAL for verdict in _flat(tensors["is_anomaly"])]
        return [label for label in _flat(tensors["labels"]) if isinstance(label, str)] if "boxes" in tensors else []
    except (ValueError, KeyError, TypeError):
        return []


def _flat(values: Iterable[object]) -> list[object]:
    return [one for value in values for one in (_flat(value) if isinstance(value, list) else [value])]
