"""Where a recipe lets the tasks of a compile run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from drupelet_host.recipe.sources import Section

_LOCAL = re.compile(r"local(?::([1-9]\d{0,3}))?")
_RAY_ADDRESS = re.compile(r"ray://[\w.\-\[\]:]+:\d+")
_EXPECTED = (
    "expected local, local:N for N processes, ray for a Ray cluster on this machine, or ray://HOST:PORT for a cluster"
)


@dataclass(frozen=True, slots=True)
class ComputeAddress:
    """Where tasks run.

    Attributes:
        kind: In local processes, or on Ray.
        workers: The number of local processes; None for as many as the machine has room for.
        url: The address of a Ray cluster; None starts one on this machine.
    """

    kind: Literal["local", "ray"]
    workers: int | None = None
    url: str | None = None


def parse_compute_address(text: str) -> ComputeAddress:
    """Parse local, local:N, ray or ray://HOST:PORT.

    Raises:
        ValueError: The text has another form.
    """
    match = _LOCAL.fullmatch(text)
    if match is not None:
        return ComputeAddress("local", workers=int(match[1]) if match[1] else None)
    if text == "ray":
        return ComputeAddress("ray")
    if _RAY_ADDRESS.fullmatch(text):
        return ComputeAddress("ray", url=text)
    raise ValueError(f"{text!r}: {_EXPECTED}")


def _checked(text: str) -> str:
    parse_compute_address(text)
    return text


class ComputeSection(Section):
    """[compute]: where the tasks of a compile run. The package does not depend on `on` and `retries`.

    Attributes:
        on: "local" uses this machine's processors, with worker processes only where they save time; "local:N" N
            processes, where 1 is the compiler's own; "ray" starts a Ray cluster on this machine; "ray://HOST:PORT" uses
            one, whose nodes need the same versions installed and should have the same kind of processor.
        threads: The number of PyTorch threads of each task. By default 1, and for the candidates of a search the
            machine's processors divided by `prune.beam`. The last bits of a result depend on it.
        retries: How often a task runs again whose worker died.
    """

    on: Annotated[
        str, AfterValidator(_checked), Field(json_schema_extra={"examples": ["local:4", "ray://head:10001"]})
    ] = "local"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] = 5
