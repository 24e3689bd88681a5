"""The document of a sweep: a base recipe, the axes, and what counts as best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from drupelet_host.errors import RecipeError
from drupelet_host.recipe.compute import ComputeSection
from drupelet_host.recipe.sources import Section
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.toml_files import read_toml

_KEY = r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$"
MAX_RUNS = 1000
_SET_BY_SWEEP = {"output", "compute"}

Values = Annotated[list[Any], Field(min_length=1)]


class BestSection(Section):
    """[best]: which run is best, of those that meet the constraints of their recipe.

    Attributes:
        by: "metric" is the highest metric, "size" the smallest and "latency" the fastest leading variant. Of runs that
            are equal in that the one with the higher metric is best, then the smaller, then the faster, then the first.
        min_metric: Runs below this metric are left out.
    """

    by: Literal["metric", "size", "latency"] = "metric"
    min_metric: float | None = None


class Sweep(Section):
    """The description of a sweep; paths are relative to its folder.

    Attributes:
        recipe: The base recipe.
        output: The folder of the runs and of the report; by default one with the name of the file.
        axes: The values of keys of the recipe, by their dotted names such as "constraints.max_size". Every combination
            is a run. A table as a value sets several keys of a section together.
        best: Which run is best.
        compute: Where runs are computed; the [compute] of the base recipe is not used.
    """

    recipe: Path
    output: Path | None = None
    axes: Annotated[dict[Annotated[str, Field(pattern=_KEY)], Values], Field(min_length=1)]
    best: BestSection = BestSection()
    compute: ComputeSection = ComputeSection()

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: dict[str, Values]) -> dict[str, Values]:
        for key, values in axes.items():
            if key.partition(".")[0] in _SET_BY_SWEEP:
                raise ValueError(f"{key} is no axis: the sweep sets it for each run")
            repeated = next((value for number, value in enumerate(values) if value in values[:number]), None)
            if repeated is not None:
                raise ValueError(f"{key} has the value {repeated!r} twice")
        return axes

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        count = 1
        for values in self.axes.values():
            count *= len(values)
        if count > MAX_RUNS:
            raise ValueError(f"axes: {count} combinations, at most {MAX_RUNS}")
        return self


def load_sweep(path: Path) -> Sweep:
    """Read a sweep; its paths become absolute.

    Raises:
        RecipeError: The file cannot be read, or has faults; the message lists all of them.
    """
    try:
        document = read_toml(path)
    except OSError as error:
        raise RecipeError(f"sweep {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"sweep {path}: {error}") from error
    folder = path.resolve().parent
    try:
        sweep = Sweep.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        faults = list_faults(error, document=document, model=Sweep, root="sweep")
        noun = "fault" if len(faults) == 1 else "faults"
        raise RecipeError("\n  - ".join([f"{path} has {len(faults)} {noun}:", *faults])) from error
    output = folder / (path.stem if sweep.output is None else sweep.output)
    return sweep.model_copy(update={"recipe": (folder / sweep.recipe).resolve(), "output": output.resolve()})
