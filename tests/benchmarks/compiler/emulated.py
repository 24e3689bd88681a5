"""Instructions of one inference on an emulated Cortex-A72: what the target's kernels do, and nothing about its time.

Needs qemu-user (not -static, which takes no plugins), mmdebstrap and gcc; the work folder holds what they make.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.compiler.setting import INPUT_SHAPE

_RELEASE, _PYTHON = "bookworm", "3.11"
_SYSTEM = "python3-minimal,python3,libpython3.11-stdlib,libgomp1,libstdc++6"
_MANYLINUX = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
_CORES = 4
_CORE = """processor\t: {core}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_NEEDED = ("qemu-aarch64", "mmdebstrap", "gcc", "setarch")
_HERE = Path(__file__).parent
_TIMEOUT_S = 1800


class Emulator:
    """An aarch64 Python with ONNX Runtime, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._root, self._site = folder / "rootfs", folder / "site"
        self._plugin, self._counts = folder / "count_instructions.so", folder / "counts.txt"

    def prepare(self) -> None:
        """Make what is not there yet.

        Raises:
            FileNotFoundError: A tool is missing; the message names all of them.
        """
        if missing := [tool for tool in _NEEDED if shutil.which(tool) is None]:
            raise FileNotFoundError(f"emulation needs {', '.join(missing)} on PATH")
        self._root.parent.mkdir(parents=True, exist_ok=True)
        source = _HERE / "count_instructions.c"
        _run("gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", self._plugin, source)
        if not self._root.is_dir():
            partial = self._root.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            _run("mmdebstrap", "--variant=extract", "--arch=arm64", f"--include={_SYSTEM}", _RELEASE, partial)
            _describe_processor(partial)
            partial.rename(self._root)
        if not self._site.is_dir():
            partial = self._site.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            _run(sys.executable, "-m", "pip", "install", "--no-compile", "--target", partial, *_wheel_options())
            partial.rename(self._site)

    def count(self, model: Path) -> int:
        """The instructions of one inference with one thread; they repeat within a tenth of a per cent."""
        python = self._root / "usr/bin" / f"python{_PYTHON}"
        shape = ",".join(map(str, INPUT_SHAPE))
        guest = {"PYTHONPATH": self._site, "PYTHONHASHSEED": 0, "PYTHONDONTWRITEBYTECODE": 1}
        settings = [part for name, value in guest.items() for part in ("-E", f"{name}={value}")]
        command = ["setarch", "-R", "qemu-aarch64", "-plugin", f"file={self._plugin}", "-cpu", "cortex-a72"]
        command += ["-L", str(self._root), *settings, str(python), str(_HERE / "emulated_inference.py"), str(model)]
        _run("env", f"COUNTS={self._counts}", *command, shape)
        start, end = (int(line.split()[1]) for line in self._counts.read_text(encoding="ascii").splitlines())
        return end - start


def _describe_processor(root: Path) -> None:
    """What ONNX Runtime reads to choose its kernels: four Cortex-A72 cores."""
    shutil.rmtree(root / "tmp", ignore_errors=True)
    text = "".join(_CORE.format(core=core) for core in range(_CORES))
    _write(root / "proc/cpuinfo", f"{text}Revision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    cpus = root / "sys/devices/system/cpu"
    for name in ("possible", "present", "online"):
        _write(cpus / name, f"0-{_CORES - 1}\n")
    for core in range(_CORES):
        _write(cpus / f"cpu{core}/regs/identification/midr_el1", "0x00000000410fd083\n")
        _write(cpus / f"cpu{core}/topology/core_id", f"{core}\n")
        _write(cpus / f"cpu{core}/topology/physical_package_id", "0\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def _wheel_options() -> list[str]:
    tags = [f"manylinux_{tag}_aarch64" for tag in _MANYLINUX] + ["manylinux2014_aarch64"]
    platforms = [part for tag in tags for part in ("--platform", tag)]
    abis = [part for abi in ("cp311", "abi3", "none") for part in ("--abi", abi)]
    chosen = ["--python-version", _PYTHON, "--implementation", "cp", "--only-binary=:all:"]
    return [*platforms, *abis, *chosen, "numpy", f"onnxruntime=={version('onnxruntime')}"]


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, timeout=_TIMEOUT_S)
