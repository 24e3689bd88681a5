"""The boards of a recipe: their broker, and the check that each of them measures."""

from __future__ import annotations

from drupelet_host.client.connection.address import BrokerAddress, TlsOptions, parse_broker_url, read_password
from drupelet_host.client.connection.connection import Connection
from drupelet_host.client.connection.presence import explain_absence
from drupelet_host.client.connection.transport import TransportFactory
from drupelet_host.client.control.control import ControlClient
from drupelet_host.errors import DeviceOfflineError, LatencyError
from drupelet_host.recipe.latency import BoardsSection


def check_boards(
    section: BoardsSection, *, broker: BrokerAddress | None = None, transport_factory: TransportFactory = Connection
) -> None:
    """Check that every board is online and measures: a compile would ask the first of them after minutes of work.

    A board whose agent does not say whether it measures is believed to.

    Args:
        section: [target.boards].
        broker: The broker of the boards, in place of the recipe's.
        transport_factory: Makes the connection to the broker.

    Raises:
        InvalidValueError: The broker's URL or a certificate is malformed.
        BrokerError: The broker cannot be reached or refuses the client.
        DeviceOfflineError: A board is offline or has not announced itself; the message names all of them.
        LatencyError: A board does not allow measuring.
    """
    address = broker or read_address(section)
    with ControlClient(broker=address, prefix=section.prefix, transport_factory=transport_factory) as client:
        statuses = client.read_statuses(section.devices)
    absences = [explain_absence(device, statuses, prefix=section.prefix) for device in section.devices]
    if missing := [str(absence) for absence in absences if absence is not None]:
        raise DeviceOfflineError(f"target.boards on {address}: {'; '.join(missing)}")
    if refusing := [device for device in section.devices if statuses[device].measures is False]:
        raise LatencyError(
            f"target.boards: {', '.join(refusing)} measures no candidates: set trust.measure = true in its "
            "configuration and restart its agent"
        )


def read_address(section: BoardsSection) -> BrokerAddress:
    """Return the address of the boards' broker.

    Raises:
        InvalidValueError: The URL, the password file or a certificate is malformed.
    """
    tls = None
    if section.ca_file or section.cert_file:
        tls = TlsOptions(section.ca_file, section.cert_file, section.key_file)
    password = read_password(section.password_file) if section.password_file or "@" in section.broker else None
    return parse_broker_url(section.broker, password=password, tls=tls)
