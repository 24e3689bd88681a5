"""`python -m fuzz.coverage_guided TARGET -runs=N`: the same targets under atheris, which keeps what finds new code."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from struct import error as _STRUCT_ERROR  # noqa: N812 - a class under a lower-case name

import atheris

with atheris.instrument_imports(include=["drupelet_shared"]):
    from fuzz.targets import TARGETS

from fuzz.runner import limit_memory


def main() -> None:
    """Run libFuzzer on one target; its own options follow the name, and a fault ends the process with its input."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    # libFuzzer asks for memory of its own beside the target's.
    limit_memory()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        try:
            changed = target.mutate(data, random, target.seeds)
        except (ValueError, ArithmeticError, LookupError, OSError, _STRUCT_ERROR):
            # An input that libFuzzer made itself need not have the form that our changes know.
            changed = atheris.Mutate(data, max_size)
        return changed[:max_size]

    with tempfile.TemporaryDirectory(prefix="drupelet-corpus-") as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        arguments = [sys.argv[0], corpus, "-max_len=8192", "-timeout=10", *options]
        atheris.Setup(arguments, lambda data: int(target.check(data)) * 0, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
