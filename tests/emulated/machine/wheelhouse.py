"""The wheelhouse for the emulated device, and one whose agent starts and then ends at once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# Bookworm's.
PYTHON = "3.11"
_ROOT = Path(__file__).resolve().parents[3]
_BROKEN = "9.9.9"
_INFO = f"drupelet-{_BROKEN}.dist-info"
_BROKEN_FILES = {
    "drupelet_agent/__init__.py": "",
    "drupelet_agent/__main__.py": f"""\
import sys
if "--version" in sys.argv:
    print("drupelet-agent {_BROKEN}")
else:
    sys.exit("this version is broken on purpose")
""",
    f"{_INFO}/METADATA": f"Metadata-Version: 2.1\nName: drupelet\nVersion: {_BROKEN}\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{_INFO}/RECORD": "",
}


def make_wheelhouse(folder: Path) -> str:
    """Collect the device's wheels and return the size that the script reports.

    Raises:
        subprocess.CalledProcessError: It failed; what it said stands on standard error.
    """
    command = [str(_ROOT / "deploy/wheelhouse"), "--python", PYTHON, "--with", sys.executable, str(folder)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.splitlines()[0]


def make_broken(folder: Path, *, pip: Path) -> None:
    """Make a wheelhouse with an agent that answers `--version` and cannot run.

    Args:
        folder: Where to; it is emptied.
        pip: The wheel of pip, which every wheelhouse brings.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(pip, folder)
    shutil.copy(_ROOT / "deploy/install.sh", folder)
    shutil.copytree(_ROOT / "systemd", folder / "systemd")
    wheel = folder / f"drupelet-{_BROKEN}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in _BROKEN_FILES.items():
            archive.writestr(name, text)
    pins = f"drupelet=={_BROKEN} --hash=sha256:{_digest(wheel)}\n"
    (folder / f"requirements-{PYTHON}.txt").write_text(pins, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{_digest(path)}  ./{path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
