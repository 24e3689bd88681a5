"""Spoken commands, made up: each word is two voiced syllables whose resonances move as in speech, under noise.

The network sees the logarithm of mel bands. The client computes them with `log_mel`, which needs nothing but NumPy, so
that a device receives 8 KB for each second of sound.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LABELS = ("up", "down", "stop", "noise")
RATE_HZ, SECONDS = 8000, 1.0
FRAME, HOP, BANDS = 256, 128, 32
FRAMES = 1 + (int(RATE_HZ * SECONDS) - FRAME) // HOP

# The first two resonances of each syllable in hertz, at its start and its end.
_WORDS = {
    "up": (((650, 1200), (600, 1100)), ((350, 900), (300, 700))),
    "down": (((450, 1700), (750, 1300)), ((650, 1000), (350, 800))),
    "stop": (((300, 2300), (350, 2100)), ((550, 900), (500, 850))),
}

Array = npt.NDArray[np.float32]
Split = tuple[Array, npt.NDArray[np.int64]]


def train() -> Split:
    """900 sounds as bands, (900, 32, 61), and the word in each."""
    return draw(900, seed=0)


def validation() -> Split:
    """300 sounds that no training hears."""
    return draw(300, seed=1)


def draw(count: int, *, seed: int) -> Split:
    """Words at random times, pitches and volumes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(LABELS), count)
    bands = np.stack([log_mel(_speak(LABELS[label], random)) for label in labels])
    return bands, labels.astype(np.int64)


def log_mel(sound: npt.NDArray[np.floating]) -> Array:
    """Return the bands (32, frames) of a sound at 8 kHz, about -1 to 1."""
    starts = HOP * np.arange(1 + (len(sound) - FRAME) // HOP)
    frames = sound[starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME)
    power = np.square(np.abs(np.fft.rfft(frames)))
    return ((np.log(power @ _filters() + 1e-4).T + 3) / 6).astype(np.float32)


def _filters() -> npt.NDArray[np.float64]:
    """Return triangles of equal width on the mel scale, (bins, bands)."""
    highest = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FRAME, 1 / RATE_HZ)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def _speak(word: str, random: np.random.Generator) -> npt.NDArray[np.float64]:
    samples = int(RATE_HZ * SECONDS)
    sound = random.uniform(0.01, 0.05) * random.normal(size=samples)
    if word not in _WORDS:
        return sound
    start, pitch = random.uniform(0.05, 0.35), random.uniform(90, 220)
    for syllable in _WORDS[word]:
        length = random.uniform(0.18, 0.28)
        voiced = _syllable(syllable, int(length * RATE_HZ), pitch=pitch)
        first = int(start * RATE_HZ)
        sound[first : first + len(voiced)] += random.uniform(0.3, 0.8) * voiced
        start += length + 0.02
    return sound


def _syllable(ends: tuple[tuple[int, int], tuple[int, int]], samples: int, *, pitch: float) -> npt.NDArray[np.float64]:
    """Return harmonics of a pitch, loud near two resonances that move from one pair of frequencies to another."""
    share = np.linspace(0, 1, samples)
    harmonics = pitch * np.arange(1, int(RATE_HZ / 2 / pitch))
    loudness = sum(
        np.exp(-np.square((harmonics[:, None] - ((1 - share) * start + share * end)) / 150))
        for start, end in zip(*ends, strict=True)
    )
    waves = np.sin(2 * np.pi * harmonics[:, None] * np.arange(samples) / RATE_HZ)
    return (loudness * waves).sum(axis=0) * np.hanning(samples)
