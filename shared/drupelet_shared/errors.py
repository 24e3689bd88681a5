"""The errors that host and agent raise, each with a stable code that is also sent in messages.

    DrupeletError
    |-- InvalidValueError               invalid_value
    |-- KeyFileError                    key_invalid
    |-- PackageError                    package_invalid
    |   |-- ArchiveError                archive_invalid
    |   |   |-- UnsafePathError         archive_unsafe_path
    |   |   |-- LinkEntryError          archive_link
    |   |   |-- DuplicateEntryError     archive_duplicate_entry
    |   |   |-- UndeclaredFileError     archive_undeclared_file
    |   |   |-- MissingFileError        archive_missing_file
    |   |   |-- TooManyEntriesError     archive_too_many_entries
    |   |   |-- ArchiveSizeError        archive_too_large
    |   |   `-- NoSpaceError            archive_no_space
    |   |-- DigestMismatchError         package_digest_mismatch
    |   |-- ManifestError               manifest_invalid
    |   |-- SignatureMissingError       signature_missing
    |   |-- SignatureInvalidError       signature_invalid
    |   `-- SignatureUntrustedError     signature_untrusted
    |-- EngineError                     engine_error
    |   |-- EngineUnavailableError      engine_unavailable
    |   |-- ModelLoadError              model_load_failed
    |   `-- GoldenMismatchError         golden_mismatch
    |-- CommandError                    invalid_command
    |   |-- UnknownCommandError         unknown_command
    |   |-- BusyError                   device_busy
    |   |-- UploadError                 invalid_upload
    |   |-- ProfilingUnavailableError   profiling_unavailable
    |   |-- MeasuringForbiddenError     measuring_forbidden
    |   |-- MeasuringPausedError        measuring_paused
    |   |-- DesiredStateError           invalid_desired_state
    |   `-- CommandFailedError          command_failed
    |-- SourceError                     source_error
    `-- RequestError                    invalid_request
        |-- UnknownModelError           unknown_model
        |-- InputNameError              invalid_input_name
        |-- InputDatatypeError          invalid_input_datatype
        |-- InputShapeError             invalid_input_shape
        |-- InputDataError              invalid_input_data
        |-- ImageError                  invalid_image
        |-- ContentTypeError            unsupported_content_type
        |-- PayloadSizeError            payload_too_large
        |-- OverloadedError             overloaded
        |-- ExpiredError                expired
        |-- ModelUnavailableError       model_unavailable
        `-- InferenceFailedError        inference_failed

Messages name the thing, its value, and the limit or the expected value.
"""

from __future__ import annotations

from typing import ClassVar


class DrupeletError(Exception):
    """The root of every error that this project raises on purpose."""

    code: ClassVar[str] = "internal"


class InvalidValueError(DrupeletError):
    """A name, size or identifier has an invalid form."""

    code = "invalid_value"


class KeyFileError(DrupeletError):
    """A key file cannot be read or holds no ECDSA P-256 key."""

    code = "key_invalid"


class PackageError(DrupeletError):
    """A package is refused."""

    code = "package_invalid"


class ArchiveError(PackageError):
    """The file is not a readable archive of the package format."""

    code = "archive_invalid"


class UnsafePathError(ArchiveError):
    """An entry's path is absolute, climbs out with '..' or has a form the format forbids."""

    code = "archive_unsafe_path"


class LinkEntryError(ArchiveError):
    """An entry is a link or another special file."""

    code = "archive_link"


class DuplicateEntryError(ArchiveError):
    """Two entries share a path."""

    code = "archive_duplicate_entry"


class UndeclaredFileError(ArchiveError):
    """The archive has an entry that the manifest does not declare."""

    code = "archive_undeclared_file"


class MissingFileError(ArchiveError):
    """The archive lacks a file that the manifest declares."""

    code = "archive_missing_file"


class TooManyEntriesError(ArchiveError):
    """The archive has more entries than a reader accepts."""

    code = "archive_too_many_entries"


class ArchiveSizeError(ArchiveError):
    """An entry, or all together, is larger than declared or than a reader accepts."""

    code = "archive_too_large"


class NoSpaceError(ArchiveError):
    """The package does not fit in the free space."""

    code = "archive_no_space"


class DigestMismatchError(PackageError):
    """The SHA-256 of a file differs from the declared one."""

    code = "package_digest_mismatch"


class ManifestError(PackageError):
    """The manifest is missing, is not JSON or breaks its schema."""

    code = "manifest_invalid"


class SignatureMissingError(PackageError):
    """The package carries no signature."""

    code = "signature_missing"


class SignatureInvalidError(PackageError):
    """The signature is malformed, or does not cover exactly the files of the package."""

    code = "signature_invalid"


class SignatureUntrustedError(PackageError):
    """No trusted key made this signature."""

    code = "signature_untrusted"


class EngineError(DrupeletError):
    """An inference runtime cannot do what a variant needs."""

    code = "engine_error"


class EngineUnavailableError(EngineError):
    """The runtime is not installed, or older than the variant needs."""

    code = "engine_unavailable"


class ModelLoadError(EngineError):
    """The runtime cannot load a model file."""

    code = "model_load_failed"


class GoldenMismatchError(EngineError):
    """A variant's outputs differ from the golden vectors by more than its tolerance."""

    code = "golden_mismatch"


class CommandError(DrupeletError):
    """A command is malformed."""

    code = "invalid_command"


class UnknownCommandError(CommandError):
    """The device does not know the command."""

    code = "unknown_command"


class BusyError(CommandError):
    """The queue of commands is full."""

    code = "device_busy"


class UploadError(CommandError):
    """A chunk of an upload is malformed or does not continue the file."""

    code = "invalid_upload"


class ProfilingUnavailableError(CommandError):
    """The variant's engine has no profiler."""

    code = "profiling_unavailable"


class MeasuringForbiddenError(CommandError):
    """The device does not measure candidates: its configuration does not allow it."""

    code = "measuring_forbidden"


class MeasuringPausedError(CommandError):
    """The device found no time to measure: it answered requests, was throttled, or measured something else."""

    code = "measuring_paused"


class DesiredStateError(CommandError):
    """A desired state is malformed."""

    code = "invalid_desired_state"


class CommandFailedError(CommandError):
    """The process that ran a command ended without a result."""

    code = "command_failed"


class SourceError(DrupeletError):
    """A package cannot be obtained from its source, or the source is malformed."""

    code = "source_error"


class RequestError(DrupeletError):
    """An inference request is refused or failed; the error is its reply.

    Attributes:
        request_id: The request's id, once it has been read; the reply repeats it.
    """

    code = "invalid_request"
    request_id: str | None = None


class UnknownModelError(RequestError):
    """No model of this name and version is active."""

    code = "unknown_model"


class InputNameError(RequestError):
    """An input or output is missing, unknown or given twice."""

    code = "invalid_input_name"


class InputDatatypeError(RequestError):
    """A tensor has a datatype that the model does not take."""

    code = "invalid_input_datatype"


class InputShapeError(RequestError):
    """A tensor has a shape that the model does not take."""

    code = "invalid_input_shape"


class InputDataError(RequestError):
    """Tensor data does not have the length or the values that its header states."""

    code = "invalid_input_data"


class ImageError(RequestError):
    """An image cannot be decoded or is too large, or the model takes no images."""

    code = "invalid_image"


class ContentTypeError(RequestError):
    """The contract does not define the content type."""

    code = "unsupported_content_type"


class PayloadSizeError(RequestError):
    """A payload is larger than the limit."""

    code = "payload_too_large"


class OverloadedError(RequestError):
    """The model's queue is full."""

    code = "overloaded"


class ExpiredError(RequestError):
    """The request's deadline passed before the reply."""

    code = "expired"


class ModelUnavailableError(RequestError):
    """The model is installed and cannot answer now."""

    code = "model_unavailable"


class InferenceFailedError(RequestError):
    """The engine or its worker process failed on this request."""

    code = "inference_failed"
