"""`make pictures`: draws the documentation's pictures and writes the README's tables, from the results.

`--record` runs the demo again first.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.comparison.features import ROOT
from benchmarks.pictures.outputs import PICTURES, RECORDING, write_outputs
from benchmarks.pictures.recording import record
from drupelet_shared.files import write_atomically

_DEMO = "host/examples/digits/demo.py"


def main() -> int:
    """Write every picture; always 0."""
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__)
    parser.add_argument("--record", action="store_true", help="run the demo and record what it prints")
    if parser.parse_args().record:
        recording = record([sys.executable, _DEMO], shown="make demo", folder=ROOT)
        write_atomically(RECORDING, f"{json.dumps(recording, indent=1, ensure_ascii=False)}\n".encode())
    write_outputs()
    print(f"{PICTURES.relative_to(ROOT)} and README.md are written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
