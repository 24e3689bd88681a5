"""The recipe's [model] section: the module or the file to compile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drupelet_host.errors import RecipeError
from drupelet_host.recipe.sources import ExistingFile, Factory, Section, existing_file
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.names import Name
from drupelet_shared.tensors import Datatype, TensorSpec

CLASSIFICATION = "classification"
INPUT_NAME, OUTPUT_NAME = "input", "output"
TFLITE_SUFFIX = ".tflite"
MODEL_SUFFIXES = (".onnx", ".pt2", TFLITE_SUFFIX)

InputShape = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=2, max_length=8)]
InputDatatype = Literal["FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL"]


def _labels_from_file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    return tuple(existing_file(Path(value), info).read_text(encoding="utf-8").splitlines())


class InputSection(Section):
    """[[model.inputs]]: one of several inputs of a module, or one that is not an array of floats.

    Attributes:
        name: The name of the input for clients and in the data.
        shape: The shape, batch first; the batch is 1.
        datatype: The datatype: "INT64" for the indices that an embedding takes, "BOOL" for a mask.
    """

    name: Name
    shape: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1, max_length=8)]
    datatype: InputDatatype = "FP32"

    @field_validator("shape")
    @classmethod
    def _one_at_a_time(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return _check_batch(value)


def _check_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[0] != 1:
        raise ValueError("the first number is the batch size, which must be 1")
    return shape


class ModelSection(Section):
    """[model]: the model to compile, a PyTorch module or a file.

    Attributes:
        name: The name of the model on devices and for clients; one level of an MQTT topic.
        version: The version for people; versions are not compared.
        release: The release number, which must increase with each package of the same name: devices refuse a lower one.
        factory: A callable that returns the module: "file.py:callable" or "package.module:callable".
        weights: A file with the module's state_dict.
        input_shape: The shape of the module's input of floats, batch first; the batch is 1. The input is called
            `input`.
        inputs: Instead of `input_shape`, the inputs of a module that takes several, or integers, in the order of its
            `forward`.
        outputs: The names of the module's outputs, in its order; without it the keys and fields of what `forward`
            returns, joined by dots.
        file: Instead of a factory, an ONNX file (`.onnx`), a `torch.export` program (`.pt2`), or a LiteRT file
            (`.tflite`), which is measured, checked and packed unchanged.
        task: "classification" converts one output of shape (1, classes) to labels; "detection", "segmentation" and
            "anomaly" are described in sections of these names; any other name only documents the model in the manifest.
        labels: The label of each class: a list, or a file with one label in each line.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["factory", "input_shape"]},
                {"required": ["factory", "inputs"]},
                {"required": ["file"]},
            ]
        }
    )

    name: Name
    version: Name
    release: Annotated[int, Field(ge=1)]
    factory: Factory | None = None
    weights: ExistingFile | None = None
    input_shape: InputShape | None = None
    inputs: tuple[InputSection, ...] = ()
    outputs: tuple[Name, ...] = ()
    file: ExistingFile | None = None
    task: Name = CLASSIFICATION
    labels: Annotated[
        tuple[str, ...], BeforeValidator(_labels_from_file, json_schema_input_type=tuple[str, ...] | str)
    ] = ()

    @field_validator("input_shape")
    @classmethod
    def _one_at_a_time(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if value is None else _check_batch(value)

    @field_validator("inputs")
    @classmethod
    def _named_differently(cls, value: tuple[InputSection, ...]) -> tuple[InputSection, ...]:
        names = [item.name for item in value]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(repeated)}: several inputs have this name")
        return value

    @field_validator("file")
    @classmethod
    def _known_format(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in MODEL_SUFFIXES:
            raise ValueError("expected a .onnx, .pt2 or .tflite file")
        return value

    @model_validator(mode="after")
    def _module_or_file(self) -> Self:
        if (self.factory is None) == (self.file is None):
            raise ValueError("expected either a factory (a PyTorch module) or a file (.onnx, .pt2, .tflite)")
        if self.factory is not None and self.input_shape is None and not self.inputs:
            raise ValueError(
                "a factory needs input_shape, for example [1, 3, 224, 224], or [[model.inputs]] with the name, shape "
                "and datatype of each input"
            )
        if self.input_shape is not None and self.inputs:
            raise ValueError("expected either input_shape, for one input of floats, or [[model.inputs]]")
        given = [name for name in ("weights", "input_shape", "inputs", "outputs") if getattr(self, name)]
        if self.file is not None and given:
            raise ValueError(f"{', '.join(given)}: only a factory needs them: a file contains them")
        return self

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The inputs of a module; none of a file, which names its own."""
        if self.input_shape is not None:
            return (TensorSpec(name=INPUT_NAME, datatype=Datatype.FP32, shape=self.input_shape),)
        return tuple(
            TensorSpec(name=item.name, datatype=Datatype(item.datatype), shape=item.shape) for item in self.inputs
        )


def parse_model_section(document: Mapping[str, Any], *, folder: Path) -> ModelSection:
    """Validate a [model] section alone, given as a mapping.

    Args:
        document: The section's keys.
        folder: The folder that paths in it are relative to.

    Returns:
        The section.

    Raises:
        RecipeError: The section has faults; the message lists all of them.
    """
    try:
        return ModelSection.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        faults = list_faults(error, document=document, model=ModelSection, root="model")
        raise RecipeError("; ".join(faults)) from error
