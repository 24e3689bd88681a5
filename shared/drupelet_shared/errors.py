"""The errors both halves raise, each with a stable code that also goes on the wire.

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
    |   |-- DesiredStateError           invalid_desired_state
    |   `-- CommandFailedError          command_failed
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

Messages name the thing, the value found and the limit or what was expected.
"""

from __future__ import annotations

from typing import ClassVar


class DrupeletError(Exception):
    """The root of every error this project raises on purpose."""

    code: ClassVar[str] = "internal"


class InvalidValueError(DrupeletError):
    """A name, size or identifier that does not have the form it must have."""

    code = "invalid_value"


class KeyFileError(DrupeletError):
    """A key file that cannot be read or holds no ECDSA P-256 key."""

    code = "key_invalid"


class PackageError(DrupeletError):
    """A package that is refused."""

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
    """An entry that the manifest does not declare."""

    code = "archive_undeclared_file"


class MissingFileError(ArchiveError):
    """A file that the manifest declares and the archive lacks."""

    code = "archive_missing_file"


class TooManyEntriesError(ArchiveError):
    """More entries than a reader accepts."""

    code = "archive_too_many_entries"


class ArchiveSizeError(ArchiveError):
    """An entry, or all together, is larger than declared or than a reader accepts."""

    code = "archive_too_large"


class NoSpaceError(ArchiveError):
    """The package does not fit in the room there is."""

    code = "archive_no_space"


class DigestMismatchError(PackageError):
    """A file whose SHA-256 differs from the declared one."""

    code = "package_digest_mismatch"


class ManifestError(PackageError):
    """The manifest is missing, is not JSON or breaks its schema."""

    code = "manifest_invalid"


class SignatureMissingError(PackageError):
    """The package carries no signature."""

    code = "signature_missing"


class SignatureInvalidError(PackageError):
    """The signature is malformed, or does not cover exactly the files there are."""

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
    """A command that cannot be read."""

    code = "invalid_command"


class UnknownCommandError(CommandError):
    """A command the device does not know."""

    code = "unknown_command"


class BusyError(CommandError):
    """Too many commands wait already."""

    code = "device_busy"


class UploadError(CommandError):
    """A chunk of an upload that cannot be read or fits nowhere."""

    code = "invalid_upload"


class ProfilingUnavailableError(CommandError):
    """A variant whose engine does not tell what each operator takes."""

    code = "profiling_unavailable"


class DesiredStateError(CommandError):
    """A desired state that cannot be read."""

    code = "invalid_desired_state"


class CommandFailedError(CommandError):
    """The process that ran a command ended without an answer."""

    code = "command_failed"


class RequestError(DrupeletError):
    """An inference request that gets an error as its answer.

    Attributes:
        request_id: The request's own id, once it has been read; the answer echoes it.
    """

    code = "invalid_request"
    request_id: str | None = None


class UnknownModelError(RequestError):
    """No model of that name, or not in that version, is active."""

    code = "unknown_model"


class InputNameError(RequestError):
    """An input or output that is missing, unknown or given twice."""

    code = "invalid_input_name"


class InputDatatypeError(RequestError):
    """A tensor whose datatype is not the model's."""

    code = "invalid_input_datatype"


class InputShapeError(RequestError):
    """A tensor whose shape the model does not take."""

    code = "invalid_input_shape"


class InputDataError(RequestError):
    """Tensor data that does not have the length or the values its header promises."""

    code = "invalid_input_data"


class ImageError(RequestError):
    """An image that cannot be decoded, is too large, or a model that takes none."""

    code = "invalid_image"


class ContentTypeError(RequestError):
    """A content type the contract does not know."""

    code = "unsupported_content_type"


class PayloadSizeError(RequestError):
    """A payload larger than the limit."""

    code = "payload_too_large"


class OverloadedError(RequestError):
    """The model's queue is full."""

    code = "overloaded"


class ExpiredError(RequestError):
    """The request's own deadline passed before it was answered."""

    code = "expired"


class ModelUnavailableError(RequestError):
    """The model is known and cannot answer now."""

    code = "model_unavailable"


class InferenceFailedError(RequestError):
    """The engine failed, or its worker died, on this request."""

    code = "inference_failed"
