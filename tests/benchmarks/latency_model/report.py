"""What the comparison with published times says, as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.latency_model.published import (
    Comparison,
    best_scale,
    int8_ratios,
    pairs_in_order,
    rank_correlation,
)
from benchmarks.machine import read_emulator, read_machine

HIGHEST_ERROR = 0.08


def make_report(comparisons: Sequence[Comparison], *, scale: float) -> dict[str, Any]:
    """Return the document.

    Args:
        comparisons: Of every network.
        scale: What the timing model's estimates are multiplied by.
    """
    raw = [one.error(1) for one in comparisons]
    mean = statistics.mean(abs(one.error(scale)) for one in comparisons)
    return {
        "what": "modelled: ncnn's networks in the timing model of the Cortex-A72, beside published times of one thread",
        "machine": read_machine(),
        "emulator": read_emulator(),
        "scale": scale,
        "best_scale": round(best_scale(comparisons), 3),
        "networks": [
            {
                "network": one.network,
                "published_ms": one.published_ms,
                "modelled_ms": round(one.modelled_ms * scale, 2),
                "error": round(one.error(scale), 4),
            }
            for one in comparisons
        ],
        **describe_agreement(comparisons, scale=scale),
        "unscaled_mean_error": round(statistics.mean(map(abs, raw)), 4),
        "unscaled_bias": round(statistics.mean(raw), 4),
        "limit": HIGHEST_ERROR,
        "met": mean <= HIGHEST_ERROR,
    }


def describe_agreement(comparisons: Sequence[Comparison], *, scale: float) -> dict[str, Any]:
    """Return the errors of scaled estimates, how they rank networks, and their ratios of int8 to float32.

    Args:
        comparisons: At least two.
        scale: What the estimates are multiplied by.
    """
    errors = [abs(one.error(scale)) for one in comparisons]
    in_order, pairs = pairs_in_order(comparisons)
    return {
        "int8_to_float32": {
            network: {"published": round(published, 3), "modelled": round(modelled, 3)}
            for network, (published, modelled) in int8_ratios(comparisons).items()
        },
        "mean_error": round(statistics.mean(errors), 4),
        "worst_error": round(max(errors), 4),
        "rank_correlation": round(rank_correlation(comparisons), 4),
        "pairs": {"in_order": in_order, "all": pairs},
    }


def format_report(report: dict[str, Any]) -> str:
    """Return the table for people.

    Args:
        report: From `make_report`.
    """
    lines = [f"{'network':<24}{'estimate':>10}{'published':>11}{'error':>8}   ms; estimates times {report['scale']}"]
    for one in report["networks"]:
        times = f"{one['modelled_ms']:>10.1f}{one['published_ms']:>11.1f}"
        lines.append(f"{one['network']:<24}{times}{one['error']:>8.1%}")
    for network, ratio in report["int8_to_float32"].items():
        lines.append(f"{network:<24} int8 / float32: published {ratio['published']}, modelled {ratio['modelled']}")
    pairs = report["pairs"]
    lines += [
        f"unscaled: mean absolute error {report['unscaled_mean_error']:.1%}, bias {report['unscaled_bias']:+.1%}",
        f"best single factor for these networks: {report['best_scale']}",
        f"rank correlation {report['rank_correlation']}; {pairs['in_order']} of {pairs['all']} pairs in order",
    ]
    errors = f"mean absolute error {report['mean_error']:.1%}, worst {report['worst_error']:.1%}"
    lines.append(f"{len(report['networks'])} networks: {errors}; limit {report['limit']:.0%}")
    return "\n".join(lines)
