"""What a board tells of its power and clock, from a folder that looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.device.board import Board, read_board

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"


def lay_out(root: Path, files: dict[str, str]) -> Board:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_board(root=root)


def test_a_machine_that_tells_nothing_has_nothing(tmp_path: Path) -> None:
    assert read_board(root=tmp_path) == Board(throttling=None, clock_mhz=None, governor=None)


@pytest.mark.parametrize(
    ("word", "flags"),
    [
        ("0\n", ()),
        ("1", ("under_voltage",)),
        ("e", ("frequency_capped", "throttled", "soft_temperature_limit")),
        ("50005\n", ("under_voltage", "throttled", "under_voltage_occurred", "throttled_occurred")),
        ("0x20000", ("frequency_capped_occurred",)),
    ],
)
def test_the_firmwares_flags_are_named(tmp_path: Path, word: str, flags: tuple[str, ...]) -> None:
    assert lay_out(tmp_path, {THROTTLED: word}).throttling == flags


@pytest.mark.parametrize("word", ["", "throttled=0x0", "zz"])
def test_a_word_that_is_no_number_tells_nothing(tmp_path: Path, word: str) -> None:
    assert lay_out(tmp_path, {THROTTLED: word}).throttling is None


@pytest.mark.parametrize(("alarm", "flags"), [("0", ()), ("1", ("under_voltage",))])
def test_a_mainline_kernel_tells_of_under_voltage_alone(tmp_path: Path, alarm: str, flags: tuple[str, ...]) -> None:
    other = {"sys/class/hwmon/hwmon0/name": "cpu_thermal", "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "1"}
    volt = {"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": alarm}
    assert lay_out(tmp_path, {**other, **volt}).throttling == flags


def test_clock_and_governor_are_those_of_the_first_core(tmp_path: Path) -> None:
    files = {f"{FREQUENCY}/scaling_cur_freq": "1500000\n", f"{FREQUENCY}/scaling_governor": "ondemand\n"}
    board = lay_out(tmp_path, files)
    assert (board.clock_mhz, board.governor) == (1500.0, "ondemand")
