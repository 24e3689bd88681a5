"""The options of every command that talks to a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from drupelet_host.client import BrokerAddress

Command = TypeVar("Command", bound=Callable[..., Any])

_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def broker_options(command: Command) -> Command:
    """Add the options that say where the broker is, and how to get in."""
    options = (
        click.option(
            "--broker",
            metavar="URL",
            envvar="DRUPELET_BROKER",
            default="mqtt://localhost:1883",
            show_default=True,
            help="mqtt://[user@]host[:port] or mqtts://...; the password comes from --password-file or from "
            "DRUPELET_PASSWORD.",
        ),
        click.option("--password-file", type=_EXISTING_FILE, help="File whose first line is the user's password."),
        click.option("--ca-file", type=_EXISTING_FILE, help="Certificate authority of an mqtts:// broker."),
        click.option("--cert-file", type=_EXISTING_FILE, help="Client certificate."),
        click.option("--key-file", type=_EXISTING_FILE, help="Key of the client certificate."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def broker_address(
    url: str, *, password_file: Path | None, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> BrokerAddress:
    """The address those options stand for.

    Raises:
        click.UsageError: They contradict each other.
    """
    from drupelet_host.client.connection.address import (  # noqa: PLC0415 - the client imports numpy, which --help does without
        TlsOptions,
        parse_broker_url,
        read_password,
    )
    from drupelet_shared.errors import InvalidValueError  # noqa: PLC0415 - as above

    if _is_another_broker():
        password_file, ca_file, cert_file, key_file = (
            None if _is_from_settings(name) else value
            for name, value in (
                ("password_file", password_file),
                ("ca_file", ca_file),
                ("cert_file", cert_file),
                ("key_file", key_file),
            )
        )
    if cert_file is None and key_file is not None:
        raise click.UsageError("--key-file needs --cert-file")
    certificates = TlsOptions(ca_file, cert_file, key_file) if ca_file or cert_file else None
    try:
        # A password without a user is the environment's, meant for another broker.
        password = read_password(password_file) if password_file or "@" in url else None
        return parse_broker_url(url, password=password, tls=certificates)
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error


def _is_another_broker() -> bool:
    """Whether the broker is not that of the settings file, whose passwords and certificates are then not for it."""
    return not _is_from_settings("broker")


def _is_from_settings(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.DEFAULT_MAP
