"""Where the project's own source files are."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = (
    Path("host/drupelet"),
    Path("host/drupelet_host"),
    Path("agent/drupelet_agent"),
    Path("shared/drupelet_shared"),
)
_PAGE_FOLDERS = ("agent", "deploy", "host", "shared", "systemd")
_SOURCES = (*PACKAGES, Path("host/examples"), Path("shared/docs/docs_generator"), Path("tests"), Path(".ci"))


def package_folders() -> list[Path]:
    """List the folders of the installed packages, relative to the repository."""
    folders = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("__init__.py")}
    return sorted(folder.relative_to(REPOSITORY) for folder in folders)


def package_modules() -> list[Path]:
    """List the modules of the installed packages, relative to the repository."""
    return _python_files(PACKAGES)


def markdown_files() -> list[Path]:
    """List the pages of the project, relative to the repository; those of the tests record what tools have said."""
    pages = [path for folder in _PAGE_FOLDERS for path in (REPOSITORY / folder).rglob("*.md")]
    return sorted(path.relative_to(REPOSITORY) for path in (*REPOSITORY.glob("*.md"), *pages))


def python_files() -> list[Path]:
    """List every Python file of the project, tests and examples included, relative to the repository."""
    return _python_files(_SOURCES)


def _python_files(roots: tuple[Path, ...]) -> list[Path]:
    return sorted(path.relative_to(REPOSITORY) for root in roots for path in (REPOSITORY / root).rglob("*.py"))
