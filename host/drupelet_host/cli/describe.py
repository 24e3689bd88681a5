"""Description of a package for `drupelet inspect`, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from drupelet_host.cli.output import console, table_console
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.estimation.model_files import estimate_variants
from drupelet_host.fleet.fitting import ALWAYS, ColumnWidth, fit_columns
from drupelet_host.fleet.printable import printable
from drupelet_host.latency.modelled.estimate import Estimate
from drupelet_host.latency.modelled.table import load_table
from drupelet_shared.package.manifest import SIGNATURE_PATH, Manifest, Variant
from drupelet_shared.package.reading import UnpackedPackage
from drupelet_shared.package.signature import key_hint
from drupelet_shared.tensors import TensorSpec
from drupelet_shared.units import format_bytes

# Heading, priority (see `ColumnWidth`), and the text of a variant.
_VARIANT_COLUMNS: Mapping[str, tuple[int, Callable[[Variant], str]]] = {
    "id": (ALWAYS, lambda variant: variant.id),
    "engine": (4, lambda variant: f"{variant.engine} >= {variant.engine_min_version}"),
    "precision": (3, lambda variant: variant.precision),
    "size": (1, lambda variant: format_bytes(variant.size_bytes)),
    "peak memory": (2, lambda variant: format_bytes(variant.peak_memory_bytes)),
    "p50": (ALWAYS, lambda variant: f"{variant.latency.p50_ms:.2f} ms"),
    "p99": (ALWAYS, lambda variant: f"{variant.latency.p99_ms:.2f} ms"),
    "metrics": (
        ALWAYS,
        lambda variant: ", ".join(f"{name} {value:.4g}" for name, value in sorted(variant.metrics.items())),
    ),
}
_NUMBERS = frozenset({"size", "peak memory", "p50", "p99"})
_BORDER_AND_PADDING = 3
# Several metrics take several lines.
_MIN_METRICS = 12

SignatureState = Literal["none", "not checked", "valid"]


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package's manifest and the state of its signature.

    Attributes:
        manifest: The manifest.
        digest: The package digest.
        signature: Whether there is a signature and whether a trusted key made it.
        key_id: The id of the key; unproven if the signature was not checked.
        modelled: What variants would take on the target by a model of its processor, by the variant's id.
    """

    manifest: Manifest
    digest: str
    signature: SignatureState
    key_id: str | None
    modelled: Mapping[str, Estimate] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {
            "digest": self.digest,
            "signature": {"state": self.signature, "key_id": self.key_id},
            "manifest": self.manifest.model_dump(mode="json"),
            "modelled": {
                name: {key: value for key, value in one.to_json().items() if key != "layers"}
                for name, one in self.modelled.items()
            },
        }


def describe_package(package: UnpackedPackage) -> PackageView:
    """Describe an opened package and its signature.

    Raises:
        SignatureInvalidError: The signature is malformed.
    """
    signature = package.folder / SIGNATURE_PATH
    state: SignatureState = "not checked" if signature.exists() else "none"
    key_id = None
    if package.signed_by is not None:
        state, key_id = "valid", package.signed_by
    elif state == "not checked":
        key_id = key_hint(signature.read_bytes())
    table = load_table(package.manifest.target.device)
    modelled = {} if table is None else estimate_variants(package.manifest, package.folder, table)
    return PackageView(package.manifest, package.digest, state, key_id, modelled)


def print_package(view: PackageView) -> None:
    """Print tables: the package, its variants as measured and as modelled, and its files."""
    tables = (_summary(view), _variants(view.manifest), *_modelled(view), _files(view.manifest))
    output = table_console()
    for title, table in tables:
        # As the title of a table it would be broken at the table's width.
        print_paragraph(printable(title), to=output)
        output.print(table)


def _summary(view: PackageView) -> tuple[str, Table]:
    manifest = view.manifest
    table = Table(show_header=False)
    rows = {
        "release": str(manifest.release),
        "created": manifest.created.isoformat(),
        "task": manifest.task,
        "target": f"{manifest.target.device} ({manifest.target.architecture})",
        "inputs": _tensors(manifest.inputs),
        "outputs": _tensors(manifest.outputs),
        "digest": view.digest,
        "signature": _signature_text(view),
    }
    for name, value in rows.items():
        table.add_row(name, _cell(value))
    return f"{manifest.name} {manifest.version}", table


def _variants(manifest: Manifest) -> tuple[str, Table]:
    columns = {
        heading: [text(variant) for variant in manifest.variants] for heading, (_, text) in _VARIANT_COLUMNS.items()
    }
    widths = {heading: max(len(heading), *map(len, texts)) for heading, texts in columns.items()}
    needs = [
        ColumnWidth(widths[heading], priority, _MIN_METRICS if heading == "metrics" else None)
        for heading, (priority, _) in _VARIANT_COLUMNS.items()
    ]
    available = console.width - 1 if console.is_terminal else None
    fitted = dict(zip(columns, fit_columns(needs, available, gap=_BORDER_AND_PADDING), strict=True))
    missing = [heading for heading, width in fitted.items() if width is None]
    table = Table(caption_justify="left")
    table.caption = f"In a wider window: {', '.join(missing)}." if missing else None
    shown = [heading for heading in columns if heading not in missing]
    for heading in shown:
        table.add_column(heading, no_wrap=heading != "metrics", justify="right" if heading in _NUMBERS else "left")
    for number in range(len(manifest.variants)):
        table.add_row(*(_cell(columns[heading][number]) for heading in shown))
    return "variants, best first; measured on the host", table


def _modelled(view: PackageView) -> list[tuple[str, Table]]:
    """Return the estimated latencies of the variants on the target, in tables apart from measurements."""
    if not view.modelled:
        return []
    title = f"variants on {view.manifest.target.device}, modelled, one thread; not measured"
    table = Table()
    for heading in ("id", "p50", "range"):
        table.add_column(heading)
    for name, one in view.modelled.items():
        table.add_row(name, f"{one.ms:.2f} ms", f"{one.low_ms:.2f} to {one.high_ms:.2f} ms")
    return [(title, table)]


def _files(manifest: Manifest) -> tuple[str, Table]:
    table = Table()
    for heading in ("path", "size", "sha256"):
        table.add_column(heading)
    for entry in manifest.files:
        table.add_row(entry.path, format_bytes(entry.size_bytes), entry.sha256[:16])
    return "files", table


def _tensors(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in specs)


def _cell(text: str) -> Text:
    # Names come from the package and must not act as markup or as control sequences of the terminal.
    return Text(printable(text))


def _signature_text(view: PackageView) -> str:
    if view.signature == "none":
        return "none"
    if view.signature == "valid":
        return f"valid, by key {view.key_id}"
    return f"NOT CHECKED, claims to be by key {view.key_id or 'unknown'}; name a trusted key with --key or --trust"
