"""Reads the power and clock of a board from its firmware and kernel, where they report them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_FREQUENCY_FOLDER = "sys/devices/system/cpu/cpu0/cpufreq"
# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation); 16 higher, the same since the board booted.
_FLAGS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
_OCCURRED_SHIFT = 16


@dataclass(frozen=True, slots=True)
class Board:
    """A board at one moment.

    Attributes:
        throttling: The flags that are set; None if the firmware does not report them.
        clock_mhz: The clock of the first core; None if the kernel does not report it.
        governor: The governor of the clock; None if the kernel does not report it.
    """

    throttling: tuple[str, ...] | None
    clock_mhz: float | None
    governor: str | None


def read_board(*, root: Path = Path("/")) -> Board:
    """Read the board now.

    Args:
        root: The root of the file system; another folder in tests.
    """
    clock_khz = _read(root / _FREQUENCY_FOLDER / "scaling_cur_freq")
    return Board(
        throttling=_throttling(root),
        clock_mhz=int(clock_khz) / 1e3 if clock_khz.isdigit() else None,
        governor=_read(root / _FREQUENCY_FOLDER / "scaling_governor") or None,
    )


def _throttling(root: Path) -> tuple[str, ...] | None:
    try:
        word = int(_read(root / _THROTTLED_FILE), 16)
    except ValueError:
        return _voltage_alarm(root)
    now = [flag for bit, flag in enumerate(_FLAGS) if word >> bit & 1]
    before = [f"{flag}_occurred" for bit, flag in enumerate(_FLAGS) if word >> bit + _OCCURRED_SHIFT & 1]
    return (*now, *before)


def _voltage_alarm(root: Path) -> tuple[str, ...] | None:
    """Return under-voltage from the sensor `rpi_volt` of the mainline kernel, which reports nothing else."""
    for sensor in (root / "sys/class/hwmon").glob("hwmon*"):
        if _read(sensor / "name") == "rpi_volt":
            return ("under_voltage",) if _read(sensor / "in0_lcrit_alarm") == "1" else ()
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
