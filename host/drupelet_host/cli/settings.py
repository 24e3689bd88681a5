"""The settings file: defaults for the options of commands that talk to devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from drupelet_host.cli.folders import settings_file
from drupelet_host.errors import SettingsError
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.toml_files import read_toml


class Settings(BaseModel):
    """Default values of the `drupelet` command's options; relative paths are relative to the settings file.

    Attributes:
        broker: Value of `--broker`.
        device: Value of `--device`.
        prefix: First levels of the topics.
        password_file: File whose first line is the user's password.
        ca_file: Certificate authority of an mqtts:// broker.
        cert_file: Client certificate.
        key_file: Key of the client certificate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str | None = None
    device: str | None = None
    prefix: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def load_settings(path: Path | None) -> dict[str, Any]:
    """Return the defaults in a settings file by option name; empty if there is none and none was named.

    Args:
        path: The file that the command line names; None for the one in the folder for settings, which need not exist.

    Returns:
        The values of the options.

    Raises:
        SettingsError: The file cannot be read or has faults; the message lists all of them.
    """
    if path is None:
        path = settings_file()
        if not path.exists():
            return {}
    try:
        document = read_toml(path)
        settings = Settings.model_validate(document)
    except OSError as error:
        raise SettingsError(f"settings {path}: {error.strerror}") from error
    except ValidationError as error:
        faults = list_faults(error, document=document, model=Settings)
        raise SettingsError(f"settings {path}: {'; '.join(faults)}") from error
    except ValueError as error:
        raise SettingsError(f"settings {path}: {error}") from error
    given = {key: value for key, value in settings if value is not None}
    return {key: path.parent / value if isinstance(value, Path) else value for key, value in given.items()}
