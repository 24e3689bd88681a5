"""The options of every command that talks to devices, in a group of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from drupelet_host.cli.command_group import GroupedOption
from drupelet_shared.contract.topics import DEFAULT_PREFIX

if TYPE_CHECKING:
    from drupelet_host.client import BrokerAddress

Command = TypeVar("Command", bound=Callable[..., Any])

_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_broker_option = partial(click.option, cls=GroupedOption, group="Broker options")


def broker_options(command: Command) -> Command:
    """Add the options that hold the broker's address, the account and the prefix of the topics."""
    options = (
        _broker_option(
            "--broker",
            metavar="URL",
            envvar="DRUPELET_BROKER",
            default="mqtt://localhost:1883",
            show_default=True,
            help="Broker: mqtt://[user@]host[:port] or mqtts://... The password comes from --password-file or from "
            "DRUPELET_PASSWORD.",
        ),
        _broker_option("--password-file", type=_EXISTING_FILE, help="File whose first line is the user's password."),
        _broker_option("--ca-file", type=_EXISTING_FILE, help="Certificate authority of an mqtts:// broker."),
        _broker_option("--cert-file", type=_EXISTING_FILE, help="Client certificate."),
        _broker_option("--key-file", type=_EXISTING_FILE, help="Key of the client certificate."),
        _broker_option("--prefix", default=DEFAULT_PREFIX, show_default=True, help="First levels of the topics."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def broker_address(
    url: str, *, password_file: Path | None, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> BrokerAddress:
    """Return the address that the options describe.

    Args:
        url: The value of --broker.
        password_file: The value of --password-file.
        ca_file: The value of --ca-file.
        cert_file: The value of --cert-file.
        key_file: The value of --key-file.

    Returns:
        The broker's address with account and TLS.

    Raises:
        click.UsageError: The URL is malformed, or the options contradict each other.
    """
    from drupelet_host.client.connection.address import (  # noqa: PLC0415 - the client imports numpy, which --help does without
        TlsOptions,
        parse_broker_url,
        read_password,
    )
    from drupelet_shared.errors import InvalidValueError  # noqa: PLC0415 - as above

    if not _is_from_settings("broker"):
        # Passwords and certificates of the settings file are for the broker of the settings file.
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
        # Without a user in the URL the environment's password is meant for another broker.
        password = read_password(password_file) if password_file or "@" in url else None
        return parse_broker_url(url, password=password, tls=certificates)
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error


def _is_from_settings(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.DEFAULT_MAP
