"""A store with real releases of a tiny model, installed as the agent installs them, in the process of the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import Progress, install
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from support.agent.fleet_bench import make_config
from support.package.served_packages import Keys, make_keys, make_package


@dataclass
class InstalledBench:
    """A folder with a trusted key, a store, and what installations reported."""

    folder: Path
    sections: dict[str, object] = field(default_factory=dict)
    progress: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys: Keys = make_keys(self.folder)
        quick = {"runs": 10, "warmup": 1, "threads": [1]}
        self.config: AgentConfig = make_config(self.folder, **{"tuning": quick, **self.sections})
        self.store = Store(self.config.state_dir)

    def package(self, *, release: int = 1, **options: object) -> Path:
        """Build a signed package of the model `digits`."""
        return make_package(self.folder, self.keys, release=release, **options)  # type: ignore[arg-type]

    def install(self, package: Path, **options: object) -> Activation:
        """Install a package."""
        return install(package, self.config, observe=self.progress.append, **options)  # type: ignore[arg-type]

    @property
    def stages(self) -> list[str]:
        """The stages that were reported, in order."""
        return [progress.stage for progress in self.progress]

    def leftovers(self) -> list[str]:
        """What lies in the store although no record names it."""
        return [path.name for folder in ("staging", "packages") for path in (self.store.root / folder).iterdir()]
