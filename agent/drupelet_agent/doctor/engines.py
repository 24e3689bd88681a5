"""Examines the installed engines, and those that the active packages need."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.engines.registry import ENGINES, load_engine
from drupelet_shared.errors import DrupeletError, EngineUnavailableError
from drupelet_shared.package.manifest import MANIFEST_PATH, parse_manifest

_POINTER_BYTES = 8
_PACKAGES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "ncnn": "ncnn"}


def examine_engines(config: AgentConfig) -> Iterator[Finding]:
    """Examine the userland, each engine, and what each active model needs."""
    if struct.calcsize("P") != _POINTER_BYTES:
        repair = "install the 64-bit Raspberry Pi OS: the engines have no builds for this one"
        yield Finding("userland", "fail", "32 bits, although the kernel may have 64", repair)
    usable = 0
    for name in ENGINES:
        try:
            yield Finding(f"engine {name}", "ok", load_engine(name).version)
            usable += 1
        except EngineUnavailableError as error:
            repair = f"pip install {_PACKAGES[name]}, if a package needs it"
            yield Finding(f"engine {name}", "note", str(error), repair)
    if not usable:
        yield Finding("engines", "fail", "none is installed", "pip install 'drupelet[agent]'")
    yield from _models(Store(config.state_dir))


def _models(store: Store) -> Iterator[Finding]:
    try:
        active = store.active()
    except (DrupeletError, OSError) as error:
        yield Finding("models", "fail", str(error), "install the packages again")
        return
    for model, activation in sorted(active.items()):
        yield _model(store, model, activation)


def _model(store: Store, model: str, activation: Activation) -> Finding:
    what = f"model {model}"
    try:
        manifest = parse_manifest((store.package_folder(activation.digest) / MANIFEST_PATH).read_bytes())
        variant = manifest.variant(activation.variant)
        engine = load_engine(variant.engine, min_version=variant.engine_min_version)
    except EngineUnavailableError as error:
        repair = f"pip install --upgrade {_PACKAGES[activation.plan.engine]}, or install a package for what is there"
        return Finding(what, "fail", str(error), repair)
    except (DrupeletError, OSError) as error:
        return Finding(what, "fail", f"its package is damaged: {error}", "install the package again")
    running = f"{activation.version} release {activation.release}, {variant.id} on {engine.name} {engine.version}"
    return Finding(what, "ok", f"{running} (needs {variant.engine_min_version})")
