"""Makes the backend that a recipe or a person names."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import psutil

from drupelet_host.compute.adaptive import AdaptivePool
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import InProcess
from drupelet_host.compute.local_pool import LocalPool
from drupelet_host.compute.ray_cluster import RayCluster
from drupelet_host.recipe.compute import ComputeSection, parse_compute_address

log = logging.getLogger(__name__)

# A worker holds PyTorch, an engine, a model and the data: 0.5 GB for the digits, 1 to 2 GB for ResNet18.
_WORKER_BYTES = 2 * 1024**3


def make_backend(section: ComputeSection, *, on_notice: Callable[[str], None] = log.info) -> ComputeBackend:
    """Return the backend of [compute]; it must be entered as a context, which ends its workers.

    Args:
        section: The section.
        on_notice: Receives a sentence on what a person should know.

    Raises:
        ComputeError: Ray is not installed, or the cluster cannot be reached or has other versions.
    """
    address, threads = parse_compute_address(section.on), section.threads or 1
    if address.kind == "ray":
        return RayCluster(address.url, retries=section.retries, threads=threads)
    if address.workers is not None:
        if address.workers == 1:
            return InProcess(threads=threads)
        return LocalPool(address.workers, retries=section.retries, threads=threads, on_notice=on_notice)
    workers = count_local_workers()
    if workers == 1:
        return InProcess(threads=threads)
    return AdaptivePool(LocalPool(workers, retries=section.retries, threads=threads, on_notice=on_notice))


def count_local_workers() -> int:
    """Return how many workers this machine has processors and memory for."""
    room = psutil.virtual_memory().available // _WORKER_BYTES
    return max(1, min(len(os.sched_getaffinity(0)), room))
