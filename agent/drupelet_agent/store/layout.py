"""The files of the store.

<root>/lock                 held by the process that changes the store
<root>/desired.json         the desired states, as the broker sent them
<root>/incoming/            package files as they arrive over the network
<root>/staging/<random>/    a package while it is unpacked and checked; emptied by the next writer
<root>/candidates/<random>/ a candidate while it is measured; emptied by the next one and when the agent starts
<root>/candidates/lock      held by the process that measures a candidate
<root>/packages/<digest>/   whole, verified packages
<root>/models/<model>.json  the record of one model: its active, previous and staged release
<root>/measurements/        measurements of each package; may be lost at any time
<root>/measurements/lock    held by the process that measures, so that no two disturb each other
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.names import check_name


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The paths of a store under one folder.

    Attributes:
        root: The folder of the store.
    """

    root: Path

    @property
    def lock(self) -> Path:
        """The file whose lock a writer holds."""
        return self.root / "lock"

    @property
    def desired(self) -> Path:
        """The desired states."""
        return self.root / "desired.json"

    @property
    def incoming(self) -> Path:
        """The folder of package files that wait to be installed."""
        return self.root / "incoming"

    @property
    def staging(self) -> Path:
        """The folder in which packages are unpacked and checked."""
        return self.root / "staging"

    @property
    def packages(self) -> Path:
        """The folder of verified packages."""
        return self.root / "packages"

    @property
    def models(self) -> Path:
        """The folder of records."""
        return self.root / "models"

    @property
    def measurements(self) -> Path:
        """The folder of measurements."""
        return self.root / "measurements"

    @property
    def measuring_lock(self) -> Path:
        """The file whose lock a measuring process holds."""
        return self.measurements / "lock"

    @property
    def candidates(self) -> Path:
        """The folder in which a compiler's candidates are measured."""
        return self.root / "candidates"

    @property
    def candidates_lock(self) -> Path:
        """The file whose lock a process holds that measures a candidate."""
        return self.candidates / "lock"

    def package(self, digest: str) -> Path:
        """Return the folder of one package."""
        return self.packages / digest

    def record(self, model: str) -> Path:
        """Return the record of one model.

        Raises:
            InvalidValueError: The name is no valid model name.
        """
        return self.models / f"{check_name(model, what='model')}.json"

    def measurements_of(self, digest: str) -> Path:
        """Return the measurements of one package."""
        return self.measurements / f"{digest}.json"
