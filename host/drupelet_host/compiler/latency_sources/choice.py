"""Chooses where a compile takes latencies from: real boards, a model of the device's processor, or this machine."""

from __future__ import annotations

from typing import Literal

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.compiler.latency_sources.boards import check_boards, read_address
from drupelet_host.errors import RecipeError
from drupelet_host.latency.board import Board, BoardLimits
from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_host.latency.device import DeviceSource
from drupelet_host.latency.machine import WORKSTATION, modelled_for
from drupelet_host.latency.modelled.source import TableSource
from drupelet_host.latency.modelled.table import LatencyTable, load_table
from drupelet_host.latency.source import LatencySource
from drupelet_host.latency.workstation import WorkstationSource
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_host.recipe.target import find_target
from drupelet_shared.package.manifest import Target

Kind = Literal["boards", "model", "workstation"]


def make_latency_source(recipe: Recipe, *, observer: Observer, broker: BrokerAddress | None = None) -> LatencySource:
    """Return the source that `target.latency` names.

    Args:
        recipe: The recipe.
        observer: Receives a message about each interruption of a measurement, and where this machine stands in.
        broker: The broker of the boards, in place of the recipe's.

    Raises:
        RecipeError: The recipe names no boards, the device has no table, or `max_latency` limits a percentile that the
            source does not have.
        InvalidValueError: The broker's URL or a certificate is malformed.
        KeyFileError: The signing key cannot be read.
    """
    kind = choose_kind(recipe)
    if kind == "boards":
        return _make_boards(recipe, observer=observer, broker=broker)
    if kind == "workstation":
        return WorkstationSource()
    limit = recipe.constraints.max_latency
    if limit is not None and limit.percentile != "p50":
        raise RecipeError(
            f"constraints.max_latency = '{limit}': a model of the processor has medians only; limit the median, name "
            "boards in [target.boards], or set target.latency = 'workstation'"
        )
    fallback = WorkstationSource() if recipe.target.latency == "auto" else None
    return TableSource(require_table(recipe), fallback=fallback, on_event=observer.decided)


def describe_source(recipe: Recipe) -> str:
    """Return the label of the source that a recipe names; a model may leave a network it does not know to this machine.

    Raises:
        RecipeError: The recipe names no boards, or the device has no table.
    """
    kind, boards = choose_kind(recipe), recipe.target.boards
    if kind == "boards" and boards is not None:
        return f"measured on {', '.join(boards.devices)}"
    return modelled_for(require_table(recipe).label) if kind == "model" else WORKSTATION


def find_table(recipe: Recipe) -> LatencyTable | None:
    """Return the latency table by which passes choose what to measure; None where this machine decides instead.

    Boards and the model share it: which layers to try is asked far more often than a board can answer.
    """
    return None if recipe.target.latency == "workstation" else load_table(recipe.target.device)


def require_table(recipe: Recipe) -> LatencyTable:
    """Return the latency table of the recipe's device.

    Raises:
        RecipeError: The device has no latency table.
    """
    table = load_table(recipe.target.device)
    if table is None:
        raise RecipeError(f"target.latency = 'model': {recipe.target.device} has no latency table")
    return table


def check_source(recipe: Recipe, *, broker: BrokerAddress | None = None) -> None:
    """Check that the boards of a recipe are online and measure, if the recipe has its latencies from boards.

    Args:
        recipe: The recipe.
        broker: The broker of the boards, in place of the recipe's.

    Raises:
        RecipeError: The recipe names no boards, or the device has no table.
        BrokerError: The broker cannot be reached or refuses the client.
        DrupeletError: A board is missing, offline or measures nothing.
    """
    boards = recipe.target.boards
    if choose_kind(recipe) == "boards" and boards is not None:
        check_boards(boards, broker=broker)


def choose_kind(recipe: Recipe) -> Kind:
    """Return which kind of source a recipe has its latencies from.

    Raises:
        RecipeError: The recipe names no boards.
    """
    stated, boards = recipe.target.latency, recipe.target.boards
    if stated == "auto":
        if boards is not None:
            return "boards"
        return "workstation" if load_table(recipe.target.device) is None else "model"
    if stated == "boards" and boards is None:
        raise RecipeError("target.latency = 'boards': name them in [target.boards], or with --device")
    return stated


def _make_boards(recipe: Recipe, *, observer: Observer, broker: BrokerAddress | None) -> DeviceSource:
    section = recipe.target.boards
    assert section is not None, "the caller has boards"
    target, key = find_target(recipe.target.device), recipe.output.key
    limits = BoardLimits(max_seconds=section.max_seconds, max_wait_s=section.max_wait_s, patience_s=section.patience_s)
    address = broker or read_address(section)
    boards = [
        Board(device, broker=address, prefix=section.prefix, limits=limits, on_event=observer.decided)
        for device in dict.fromkeys(section.devices)
    ]
    packer = CandidatePacker(
        target=Target(device=target.name, architecture=target.architecture),
        signing_key=None if key is None else load_private_key(key),
    )
    return DeviceSource(boards, packer)
