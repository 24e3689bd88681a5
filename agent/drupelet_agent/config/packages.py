"""The configuration of which packages the agent accepts, and of what a delivery may use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from drupelet_agent.config.section import Section
from drupelet_shared.names import Name
from drupelet_shared.units import ByteSize


class TrustConfig(Section):
    """The packages that the agent accepts.

    Attributes:
        folder: The folder of the trusted public keys, `*.pub`.
        allow_unsigned: Accept packages without a signature too.
        measure: Let compilers time candidates here with `command/measure`; a candidate is checked like a package, runs
            in the sandbox beside what is served, and is never stored.
        targets: The targets that packages may be compiled for; this board by default, and any target on a machine that
            is not a known board.
    """

    folder: Path = Path("/etc/drupelet/trust")
    allow_unsigned: bool = False
    measure: bool = False
    targets: tuple[Name, ...] | None = None


class DeliveryConfig(Section):
    """What packages that arrive over the network may use.

    Attributes:
        max_package: The largest size of a package file.
        uploads: The largest number of incoming files, including complete ones that wait to be installed.
        keep_s: The time that a file is kept which is neither continued nor installed.
        reserve: The space on the disk that must stay free.
        ca_file: The certificate authority of the servers of packages; the system's authorities by default.
    """

    max_package: ByteSize = 1024 * 2**20
    uploads: Annotated[int, Field(ge=1, le=64)] = 4
    keep_s: Annotated[float, Field(gt=0)] = 7 * 86_400.0
    reserve: ByteSize = 64 * 2**20
    ca_file: Path | None = None
