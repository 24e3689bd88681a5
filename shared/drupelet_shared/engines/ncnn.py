"""The ncnn adapter: loads pairs of graph and weights files; see `ncnn_signature` for the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_profile import ProfiledNcnnSession
from drupelet_shared.engines.ncnn_session import ALLOCATION_FAILED, NcnnSession, load_graph, make_net, runtime
from drupelet_shared.engines.ncnn_signature import NcnnSignature
from drupelet_shared.errors import ModelLoadError


class NcnnEngine:
    """Loads pairs of `.param` and `.bin` files into CPU sessions."""

    name = "ncnn"

    @property
    def version(self) -> str:
        """The installed ncnn's version."""
        return str(runtime.__version__)

    def load(self, path: Path, *, threads: int) -> NcnnSession:
        """Load a graph file and the weights beside it; see `Engine.load`.

        Raises:
            ModelLoadError: A file is missing or damaged, or the signature names a tensor that the graph lacks.
            MemoryError: The process may not allocate what the model needs.
        """
        net, signature, _ = self._load(path, threads=threads)
        return NcnnSession(net, signature)

    def load_profiled(self, path: Path, *, threads: int, folder: Path) -> ProfiledNcnnSession:
        """Load a model to profile it; see `ProfilingEngine.load_profiled`.

        Args:
            path: The graph file.
            threads: Threads of one inference.
            folder: The folder for the profile.

        Returns:
            A session that records each inference.
        """
        net, signature, graph = self._load(path, threads=threads)
        net.opt.lightmode = False
        return ProfiledNcnnSession(net, signature, graph=graph, folder=folder)

    def _load(self, path: Path, *, threads: int) -> tuple[Any, NcnnSignature, str]:
        weights = path.with_suffix(WEIGHTS_SUFFIX)
        try:
            graph = path.read_text(encoding="utf-8")
            signature = NcnnSignature.parse(graph)
            weights_bytes = weights.stat().st_size
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{path.name}: ncnn {self.version} cannot load it: {error}") from error
        net = make_net(threads)
        self._check(load_graph(net, graph), path, room_bytes=weights_bytes)
        self._check(net.load_model(str(weights)), weights, room_bytes=weights_bytes)
        known = {*net.input_names(), *net.output_names(), *(blob.name for blob in net.blobs())}
        if absent := sorted({tensor.blob for tensor in (*signature.inputs, *signature.outputs)} - known):
            raise ModelLoadError(f"{path.name}: the graph has no tensor {', '.join(absent)}, which its signature names")
        return net, signature, graph

    def _check(self, status: int, path: Path, *, room_bytes: int) -> None:
        if status == ALLOCATION_FAILED and not _can_allocate(room_bytes):
            raise MemoryError(f"ncnn: {path.name} does not fit: it has {room_bytes} bytes of weights")
        if status != 0:
            raise ModelLoadError(f"{path.name}: ncnn {self.version} cannot load it: status {status}")


def _can_allocate(count_bytes: int) -> bool:
    try:
        bytearray(count_bytes)
    except MemoryError:
        return False
    return True
