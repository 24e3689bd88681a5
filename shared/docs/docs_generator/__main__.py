"""`python -m docs_generator` writes every generated document; `--check` only lists what would change."""

from __future__ import annotations

import argparse
import sys

from docs_generator.outputs import ROOT, make_outputs


def main() -> int:
    """1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m docs_generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if something would change")
    arguments = parser.parse_args()
    different = []
    for path, text in make_outputs().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        different.append(path)
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in different:
        sys.stdout.write(f"{'differs' if arguments.check else 'wrote'}: {path.relative_to(ROOT)}\n")
    return 1 if arguments.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
