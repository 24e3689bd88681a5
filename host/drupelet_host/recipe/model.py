"""[model] of the recipe: the module or the file that is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from drupelet_host.recipe.sources import ExistingFile, Factory, Section, existing_file
from drupelet_shared.names import Name

CLASSIFICATION = "classification"
TFLITE_SUFFIX = ".tflite"

InputShape = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=2, max_length=8)]


def _labels_from_file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    return tuple(existing_file(Path(value), info).read_text(encoding="utf-8").splitlines())


class ModelSection(Section):
    """[model]: what is compiled, a PyTorch module or a file.

    Attributes:
        name: What devices and clients call the model; one MQTT topic level.
        version: For people; any text of that form, not ordered.
        release: Grows with every package of that name; devices refuse to go back.
        factory: Makes the module: "file.py:callable" or "package.module:callable".
        weights: A state_dict for it.
        input_shape: The module's whole input's, batch first, and the batch is 1.
        outputs: What the module's outputs are called, in its order.
        file: Instead of a factory, an ONNX file (`.onnx`), a `torch.export` program (`.pt2`), or a LiteRT file
            (`.tflite`), which is measured, checked and packed as it is.
        task: "classification" turns one output of shape (1, classes) into labels; any other name only
            documents the model in the manifest.
        labels: One for each class: a list, or a file with one a line.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["factory", "input_shape"]}, {"required": ["file"]}]}
    )

    name: Name
    version: Name
    release: Annotated[int, Field(ge=1)]
    factory: Factory | None = None
    weights: ExistingFile | None = None
    input_shape: InputShape | None = None
    outputs: tuple[Name, ...] = ()
    file: ExistingFile | None = None
    task: Name = CLASSIFICATION
    labels: Annotated[
        tuple[str, ...], BeforeValidator(_labels_from_file, json_schema_input_type=tuple[str, ...] | str)
    ] = ()

    @field_validator("input_shape")
    @classmethod
    def _one_at_a_time(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and value[0] != 1:
            raise ValueError("the first number is the batch, which is 1 on the device")
        return value

    @field_validator("file")
    @classmethod
    def _known_format(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix not in {".onnx", ".pt2", TFLITE_SUFFIX}:
            raise ValueError("expected a .onnx, a .pt2 or a .tflite file")
        return value

    @model_validator(mode="after")
    def _module_or_file(self) -> Self:
        if (self.factory is None) == (self.file is None):
            raise ValueError("expected either a factory (a PyTorch module) or a file (.onnx, .pt2, .tflite)")
        if self.factory is not None and self.input_shape is None:
            raise ValueError("a factory needs input_shape, for example [1, 3, 224, 224]")
        given = [name for name in ("weights", "input_shape", "outputs") if getattr(self, name)]
        if self.file is not None and given:
            raise ValueError(f"{', '.join(given)}: only a factory takes them; the file says it itself")
        return self
