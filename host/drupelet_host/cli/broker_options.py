"""The options of every command that talks to devices, in a group of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from drupelet_host.cli.command_group import GroupedCommand, GroupedOption
from drupelet_shared.contract.topics import DEFAULT_PREFIX

if TYPE_CHECKING:
    from drupelet_host.client import BrokerAddress

Command = TypeVar("Command", bound=Callable[..., Any])

_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_broker_option = partial(click.option, cls=GroupedOption, group="Broker options")


class BrokerCommand(GroupedCommand):
    """A command with `broker_options`, whose defaults stand in the settings file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the settings file that --config names, before or after the command, then parse the options.

        Raises:
            SettingsError: The settings file cannot be read or has faults.
        """
        if ctx.resilient_parsing:
            # A shell that completes the command line needs no defaults.
            return super().parse_args(ctx, args)
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        before = ctx.find_root().params.get("config")
        ctx.default_map = self._defaults(Path(given["config"]) if "config" in given else before)
        return super().parse_args(ctx, args)

    def _defaults(self, config: Path | None) -> dict[str, Any]:
        from drupelet_host.cli.settings import load_settings  # noqa: PLC0415 - only commands that talk to devices

        # A command for several devices takes them from the command line alone.
        single = {option.name for option in self.params if not option.multiple}
        return {key: value for key, value in load_settings(config).items() if key in single}


def broker_options(command: Command) -> Command:
    """Add the options that hold the broker's address, the account and the topics' prefix; for a `BrokerCommand`."""
    options = (
        _broker_option(
            "--broker",
            metavar="URL",
            envvar="DRUPELET_BROKER",
            default="mqtt://localhost:1883",
            show_default=True,
            show_envvar=True,
            help="Broker: mqtt://[user@]host[:port] or mqtts://... The password comes from --password-file or from "
            "DRUPELET_PASSWORD.",
        ),
        _broker_option("--password-file", type=_EXISTING_FILE, help="File whose first line is the user's password."),
        _broker_option("--ca-file", type=_EXISTING_FILE, help="Certificate authority of an mqtts:// broker."),
        _broker_option("--cert-file", type=_EXISTING_FILE, help="Client certificate."),
        _broker_option("--key-file", type=_EXISTING_FILE, help="Key of the client certificate."),
        _broker_option(
            "--prefix",
            metavar="TOPIC",
            default=DEFAULT_PREFIX,
            show_default=True,
            callback=_check_prefix,
            help="First levels of the topics.",
        ),
        _broker_option(
            "--config",
            type=_EXISTING_FILE,
            expose_value=False,
            help="File with defaults for these options; by default $XDG_CONFIG_HOME/drupelet/config.toml.",
        ),
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


def _check_prefix(_context: click.Context, _option: click.Parameter, value: str) -> str:
    levels = value.strip("/")
    if not levels or not levels.isprintable() or set(levels) & {"+", "#"} or "//" in levels or levels.startswith("$"):
        raise click.BadParameter(f"{value!r}: expected topic levels without '+', '#' and a '$' in front: drupelet/v1")
    return value


def _is_from_settings(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.DEFAULT_MAP
