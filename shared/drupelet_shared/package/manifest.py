"""The package manifest, schema version 1: the content of `manifest.json` and its consistency rules."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import ManifestError
from drupelet_shared.names import Name, Sha256
from drupelet_shared.package.strict_json import check_strict_json
from drupelet_shared.postprocessing.specs import Detection, Postprocessing
from drupelet_shared.tensors import TensorSpec

MANIFEST_PATH = "manifest.json"
SIGNATURE_PATH = "model.sig"
LABELS_PATH = "labels.txt"

FilePath = Annotated[str, Field(min_length=1, max_length=255)]
EngineName = Literal["onnxruntime", "litert", "ncnn"]
# ncnn loads a pair of files with one stem: the graph, which the variant names, and the weights.
_GRAPH_SUFFIX, _WEIGHTS_SUFFIX = ".param", ".bin"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Model):
    """One file of the package besides the manifest and the signature.

    Attributes:
        path: Where it is in the package.
        sha256: Of its bytes.
        size_bytes: How many those are.
    """

    path: FilePath
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class ImagePreprocessing(_Model):
    """How a JPEG or PNG becomes the model's input: resize, convert, then `(pixel / 255 - mean) / std` a channel.

    Attributes:
        input: The input it becomes.
        color: The channels, in their order.
        layout: Channels before or after height and width.
        height: In pixels.
        width: In pixels.
        resize: "stretch" (to height x width), "crop" (shorter side first, then the centre) or "letterbox" (longer side
            first, then padding with zero pixels).
        mean: One number, or one a channel.
        std: One number, or one a channel.
    """

    input: str
    color: Literal["gray", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    height: Annotated[int, Field(gt=0, le=8192)]
    width: Annotated[int, Field(gt=0, le=8192)]
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)

    @property
    def channels(self) -> int:
        """Channels of the input tensor."""
        return 1 if self.color == "gray" else 3

    @model_validator(mode="after")
    def _one_or_each_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, self.channels}:
                raise ValueError(f"{name} has {len(values)} values: expected 1 or {self.channels}")
        return self


class Latency(_Model):
    """The time of an inference on the machine that compiled the package, which does not predict the device.

    Attributes:
        p50_ms: The median.
        p99_ms: The 99th percentile.
        threads: Of the engine.
        machine: Its processor.
    """

    p50_ms: Annotated[float, Field(ge=0)]
    p99_ms: Annotated[float, Field(ge=0)]
    threads: Annotated[int, Field(gt=0)]
    machine: str


class Golden(_Model):
    """Inputs with the outputs the host saw from this variant.

    Attributes:
        path: An NPZ whose arrays are named `input.NAME` and `output.NAME`, the samples along a new first axis.
        samples: How many there are.
        tolerance: The largest difference allowed, as a fraction of the largest magnitude in that output's golden array.
    """

    path: FilePath
    samples: Annotated[int, Field(gt=0)]
    tolerance: Annotated[float, Field(ge=0, le=1)]


class Variant(_Model):
    """One model file that an engine loads, with what was measured in that engine on the host.

    Attributes:
        id: What plans and telemetry call it.
        engine: What runs it.
        engine_min_version: The oldest version of the engine that can.
        precision: Of weights and activations.
        path: The model file; for ncnn the graph, `NAME.param`.
        weights_path: For ncnn the weights, `NAME.bin`; absent for every other engine.
        size_bytes: The size of both files together.
        peak_memory_bytes: Of a process that loads and runs it.
        metrics: By name, measured in this engine.
        latency: Measured in this engine.
        golden: What the device checks it with.
    """

    id: Name
    engine: EngineName
    engine_min_version: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
    precision: Name
    path: FilePath
    weights_path: FilePath | None = None
    size_bytes: Annotated[int, Field(gt=0)]
    peak_memory_bytes: Annotated[int, Field(ge=0)]
    metrics: dict[str, float]
    latency: Latency
    golden: Golden

    @model_validator(mode="after")
    def _has_the_files_its_engine_loads(self) -> Self:
        stem = self.path.removesuffix(_GRAPH_SUFFIX)
        expected = f"{stem}{_WEIGHTS_SUFFIX}" if self.engine == "ncnn" else None
        if self.engine == "ncnn" and stem == self.path:
            raise ValueError(f"variant {self.id!r} is for ncnn: path {self.path!r} must end in {_GRAPH_SUFFIX!r}")
        if self.weights_path != expected:
            raise ValueError(f"variant {self.id!r} has weights_path {self.weights_path!r}: expected {expected!r}")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_absent_weights(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        # Readers of version 0.1 refuse keys that they do not know.
        document: dict[str, object] = serialize(self)
        if self.weights_path is None:
            document.pop("weights_path", None)
        return document

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the model's files in the package."""
        return (self.path,) if self.weights_path is None else (self.path, self.weights_path)


class Target(_Model):
    """The device the package was compiled for.

    Attributes:
        device: Its kind.
        architecture: The device's `uname -m`.
    """

    device: Name
    architecture: Name


class LineageRecord(_Model):
    """The record of one compiler pass: its parameters, measurements and input.

    Attributes:
        name: The pass.
        parameters: Its settings.
        metrics: What it measured.
        seconds: What it took.
        parent: The digest of the model it started from; none for the first pass.
        digest: Of the model it made.
    """

    name: Name
    parameters: dict[str, JsonValue]
    metrics: dict[str, float]
    seconds: Annotated[float, Field(ge=0)]
    parent: Sha256 | None
    digest: Sha256


class Manifest(_Model):
    """The content of `manifest.json`.

    Attributes:
        schema_version: Of this format.
        name: The model.
        version: For people; not ordered.
        release: Grows with every package of that name; devices refuse to go back.
        created: Informative: nothing is accepted or refused by date.
        task: What the model does.
        inputs: The tensors it takes.
        outputs: The tensors it gives.
        preprocessing: How an image becomes an input.
        postprocessing: What the outputs mean: classes, boxes, a class map or a verdict.
        target: The device it was compiled for.
        variants: In the order the compiler ranks them, best first.
        files: Every file of the package besides the manifest and the signature.
        lineage: The compiler's passes, in order.
    """

    schema_version: Literal[1] = 1
    name: Name
    version: Name
    release: Annotated[int, Field(ge=1)]
    created: datetime
    task: Name
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    preprocessing: ImagePreprocessing | None = None
    postprocessing: Postprocessing | None = None
    target: Target
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    files: tuple[FileEntry, ...]
    lineage: tuple[LineageRecord, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        faults = [*self._repeated(), *self._dangling()]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _repeated(self) -> list[str]:
        named = {
            "input": [spec.name for spec in self.inputs],
            "output": [spec.name for spec in self.outputs],
            "variant": [variant.id for variant in self.variants],
            "file": [entry.path for entry in self.files],
        }
        return [
            f"{what} {name!r} is declared {count} times"
            for what, names in named.items()
            for name, count in Counter(names).items()
            if count > 1
        ]

    def _dangling(self) -> list[str]:
        declared = {entry.path for entry in self.files}
        references = [(f"variant {v.id!r}", path) for v in self.variants for path in (*v.files, v.golden.path)]
        faults = [f"{who} names {path!r}, which is not in files" for who, path in references if path not in declared]
        if self.preprocessing and self.preprocessing.input not in {spec.name for spec in self.inputs}:
            faults.append(f"preprocessing names input {self.preprocessing.input!r}, which the model does not have")
        return [*faults, *self._dangling_postprocessing(declared)]

    def _dangling_postprocessing(self, declared: set[str]) -> list[str]:
        if self.postprocessing is None:
            return []
        outputs = {spec.name for spec in self.outputs}
        faults = [
            f"postprocessing names output {name!r}, which the model does not have"
            for name in self.postprocessing.outputs
            if name not in outputs
        ]
        priors = self.postprocessing.priors if isinstance(self.postprocessing, Detection) else None
        if priors is not None and priors not in declared:
            faults.append(f"postprocessing names {priors!r}, which is not in files")
        return faults

    def variant(self, variant_id: str) -> Variant:
        """Return the variant of that id.

        Raises:
            ManifestError: The package has no variant with this id.
        """
        for variant in self.variants:
            if variant.id == variant_id:
                return variant
        ids = ", ".join(variant.id for variant in self.variants)
        raise ManifestError(f"variant {variant_id!r} of {self.name} {self.version}: the package has {ids}")

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of `manifest.json`: sorted keys, two spaces, a final newline."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Parse and validate `manifest.json`; `parse_manifest(m.to_bytes()) == m`.

    Raises:
        ManifestError: The bytes are not strict JSON, or break the schema; every fault of the schema is named.
    """
    try:
        check_strict_json(data)
    except ValueError as error:
        raise ManifestError(f"{MANIFEST_PATH}: {error}") from error
    try:
        # Strict: `true` and `1.0` are no integers, and "1" is no number.
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise ManifestError(f"{MANIFEST_PATH}: {describe_faults(error)}") from error


def manifest_digest(data: bytes) -> str:
    """Return the package's identity: the SHA-256 of its manifest, which covers every file but the signature."""
    return hashlib.sha256(data).hexdigest()
