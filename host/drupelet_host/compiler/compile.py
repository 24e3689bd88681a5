"""Runs all passes of a compile, from a recipe to a package."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from drupelet_host.compiler.caching.cache import PassCache
from drupelet_host.compiler.caching.fingerprint import fingerprint_start
from drupelet_host.compiler.latency_sources.choice import check_source, make_latency_source
from drupelet_host.compiler.pipeline import Pipeline
from drupelet_host.compiler.registry import UNCACHED, make_pass, passes_of
from drupelet_host.compiler.start import start_compile
from drupelet_host.compiler.state import CompileState
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.choice import make_backend
from drupelet_host.latency.source import LatencySource
from drupelet_host.packaging.storage import estimate_cache_bytes, full_disk_as_error, require_writable
from drupelet_host.progress.observer import SILENT, Observer
from drupelet_host.recipe.schema import Recipe


def compile_recipe(
    recipe: Recipe,
    *,
    observer: Observer = SILENT,
    cache: Path | None = None,
    latency_source: LatencySource | None = None,
    compute: ComputeBackend | None = None,
) -> CompileState:
    """Run every pass.

    Args:
        recipe: The recipe.
        observer: Receives progress and decisions.
        cache: A folder for the results of finished passes. An interrupted compile continues from them, and a changed
            recipe repeats only what depends on the change. No other user may write to it.
        latency_source: The source of latencies; that of the recipe by default.
        compute: The backend that runs the tasks of passes; that of the recipe by default, which ends with the compile.

    Returns:
        The final state; `package` is the path of the result. Without a cache, `workspace` and its model files are
        deleted.

    Raises:
        ModelError: The model cannot be loaded, traced or exported.
        DataError: The data cannot be read or does not match the model.
        ComputeError: Workers cannot be started or reached, or died again and again.
        DeviceOfflineError: A board that the recipe names is not online.
        ConstraintError: No variant meets the constraints; no package was written.
        StorageError: The output folder or the cache cannot be written, or has no room.
        DrupeletError: A pass fails for another reason.
    """
    passes = [make_pass(name, recipe) for name in passes_of(recipe)]
    if latency_source is None:
        check_source(recipe)
    source = latency_source or make_latency_source(recipe, observer=observer)
    require_writable(recipe.output.folder, what="output folder")
    if cache is not None:
        require_writable(cache, what="cache folder")
    with ExitStack() as resources:
        workspace = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="drupelet-compile-")))
        resources.enter_context(full_disk_as_error(workspace, what="temporary folder"))
        backend = compute or resources.enter_context(make_backend(recipe.compute, on_notice=observer.decided))
        state = replace(start_compile(recipe, workspace), latency_source=source, compute=backend)
        for note in state.notes:
            observer.decided(note)
        if cache is None:
            return Pipeline(passes, observer=observer).run(state)
        require_writable(cache, what="cache folder", needed_bytes=estimate_cache_bytes(state.model_bytes))
        resources.enter_context(full_disk_as_error(cache, what="cache folder"))
        kept = PassCache(cache)
        kept.collect()
        if state.source is not None:
            # A file that was converted for this run must still exist for the next one.
            state = replace(state, source=kept.adopt(state.source))
        pipeline = Pipeline(passes, observer=observer, cache=kept, uncached=UNCACHED)
        return pipeline.run(state, start=fingerprint_start(state))
