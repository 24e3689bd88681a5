"""Secrets in files; they never appear in a configuration, a log line or a `repr`."""

from __future__ import annotations

from pathlib import Path

from drupelet_agent.config.environment import is_missing_credential
from drupelet_agent.errors import ConfigError, ConfigReason

_LONGEST_BYTES = 65_536


class Secret:
    """A text whose representation does not contain it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep a text.

        Args:
            text: The text.
        """
        self._text = text

    def __repr__(self) -> str:
        return "Secret(***)"

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text


def read_secret(path: Path) -> Secret:
    """Return the content of a file without the line end that editors add.

    Raises:
        ConfigError: The file cannot be read, is empty, longer than 64 KiB or not UTF-8; the message has nothing of it.
    """
    reason = ConfigReason.CREDENTIAL if is_missing_credential(path) else ConfigReason.SECRET
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"secret {path}: {error.strerror}", reason=reason) from error
    if not 0 < len(data) <= _LONGEST_BYTES:
        raise ConfigError(f"secret {path}: expected 1 to {_LONGEST_BYTES} bytes", reason=reason)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # The exception holds the bytes, so it is left behind.
        raise ConfigError(f"secret {path}: expected UTF-8", reason=reason) from None
    return Secret(text.rstrip("\r\n"))
