"""What one fuzz target is: valid inputs, ways to change them, and a check that no input may break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fuzz.mutations import mutate_bytes


@dataclass(frozen=True)
class Target:
    """One parser of foreign bytes.

    Attributes:
        name: What it is called on the command line.
        seeds: Inputs that the parser takes.
        check: Parses one input and says whether it was taken. An input that is refused with one of our errors is not
            taken; whatever else is raised is a fault, as is a value that does not come back after it was written again.
        mutate: Another input made of one.
    """

    name: str
    seeds: tuple[bytes, ...]
    check: Callable[[bytes], bool]
    mutate: Callable[[bytes, Random, Sequence[bytes]], bytes] = lambda data, random, others: mutate_bytes(
        data, random, others=others
    )

    def next_input(self, random: Random) -> bytes:
        """A changed seed."""
        return self.mutate(random.choice(self.seeds), random, self.seeds)
