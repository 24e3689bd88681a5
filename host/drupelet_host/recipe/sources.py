"""References of a recipe to files, folders, callables, and data in any of these forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from drupelet_host.recipe.factories import FactoryRef, parse_factory


def recipe_folder(info: ValidationInfo) -> Path:
    """Return the folder that paths in the recipe are relative to."""
    return Path(info.context["folder"]) if info.context else Path()


def existing_file(path: Path, info: ValidationInfo) -> Path:
    """Return the full path of an existing file.

    Raises:
        ValueError: The file does not exist.
    """
    full = resolve_reference(path, info)
    if full.is_dir():
        raise ValueError(f"{full} is a folder: expected a file")
    if not full.is_file():
        raise ValueError(f"there is no file {full}")
    return full


def resolve_reference(path: Path, info: ValidationInfo) -> Path:
    """Return the full path of what a recipe names.

    Raises:
        ValueError: The path is a link that leads back to itself, or cannot be looked up.
    """
    try:
        return (recipe_folder(info) / path).resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be looked up: {error}") from error


def _existing_folder(path: Path, info: ValidationInfo) -> Path:
    full = resolve_reference(path, info)
    if not full.is_dir():
        raise ValueError(f"there is no folder {full}")
    return full


def _factory(value: object, info: ValidationInfo) -> object:
    return parse_factory(value, folder=recipe_folder(info)) if isinstance(value, str) else value


def _source(value: object) -> object:
    """Convert a string to a factory, an NPZ file or a folder of images, and a table to a pair of IDX files."""
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "idx", **value}
    if not isinstance(value, str):
        return value
    if ":" in value:
        return {"kind": "factory", "factory": value}
    return {"kind": "npz", "path": value} if value.endswith(".npz") else {"kind": "folder", "path": value}


ExistingFile = Annotated[Path, AfterValidator(existing_file)]
ExistingFolder = Annotated[Path, AfterValidator(_existing_folder)]
Factory = Annotated[
    FactoryRef,
    BeforeValidator(_factory),
    WithJsonSchema({"type": "string", "pattern": r"^.+:[^\d\W]\w*$", "examples": ["model.py:build"]}),
]


class Section(BaseModel):
    """One table of the recipe; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FactorySource(Section):
    """A callable that returns (inputs, labels)."""

    kind: Literal["factory"]
    factory: Factory


class NpzSource(Section):
    """An NPZ file with the arrays `inputs` and `labels`."""

    kind: Literal["npz"]
    path: ExistingFile


class IdxSource(Section):
    """Two IDX files, the format of MNIST; they may be gzipped."""

    kind: Literal["idx"]
    images: ExistingFile
    labels: ExistingFile


class IdxFiles(Section):
    """The names of two IDX files in a recipe.

    Attributes:
        images: The file of images.
        labels: The file of labels.
    """

    images: Path
    labels: Path


class FolderSource(Section):
    """A folder with one folder of images for each label."""

    kind: Literal["folder"]
    path: ExistingFolder


_WrittenSource = (
    Annotated[str, Field(examples=["data.py:train", "digits.npz", "images/train"], min_length=1)] | IdxFiles
)
DataSource = Annotated[
    Annotated[FactorySource | NpzSource | IdxSource | FolderSource, Field(discriminator="kind")],
    BeforeValidator(_source, json_schema_input_type=_WrittenSource),
]


class DataSection(Section):
    """[data]: the training, validation and test samples, which must not overlap.

    Each is "file.py:callable", an NPZ file with `inputs` and `labels`, a folder with one folder of images for each
    label, or a table of two IDX files.

    Attributes:
        train: Samples for fine-tuning and calibration.
        validation: Samples on which the compiler measures everything that it decides by.
        test: Samples on which the final result is measured and checked against the constraints. Without them the
            validation samples are used, and the report states it.
        hold_out: The share of the validation samples that is used as `test` instead, drawn at random.
    """

    train: DataSource
    validation: DataSource
    test: DataSource | None = None
    hold_out: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if self.test is not None and self.hold_out is not None:
            raise ValueError("expected either test or hold_out: both set the samples that the result is measured on")
        return self
