"""Examines the files and folders of the agent: whether they exist, their free space, and who may change them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.environment import CREDENTIALS_PREFIX
from drupelet_agent.doctor.findings import Finding
from drupelet_agent.errors import StoreReadOnlyError
from drupelet_agent.store.store import Store
from drupelet_shared.errors import DrupeletError
from drupelet_shared.package.trust import load_trust_folder
from drupelet_shared.units import format_bytes

_LITTLE_ROOM_BYTES = 200 * 10**6
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# systemd gives credentials to a group of their own, so that reading by the group is no fault.
_OTHERS_USE = stat.S_IWGRP | stat.S_IRWXO


def examine_files(config: AgentConfig) -> Iterator[Finding]:
    """Examine the store, the trusted keys and the secrets."""
    yield _store(config)
    yield _trust(config)
    broker = config.broker
    if broker.password_file is not None:
        yield _secret("broker.password_file", broker.password_file)
    if broker.tls is not None and broker.tls.key_file is not None:
        yield _secret("broker.tls.key_file", broker.tls.key_file)


def _store(config: AgentConfig) -> Finding:
    store = Store(config.state_dir)
    try:
        store.create()
        if store.is_read_only():
            return _read_only(store)
        with tempfile.TemporaryFile(dir=config.state_dir):
            pass
        free_bytes = store.free_bytes()
        models = store.active()
    except StoreReadOnlyError:
        return _read_only(store)
    except (DrupeletError, OSError) as error:
        repair = f"make {config.state_dir} writable for uid {os.getuid()}, or set state_dir"
        return Finding("store", "fail", str(error), repair)
    state = f"{config.state_dir}, {len(models)} active models, {format_bytes(free_bytes)} free"
    if free_bytes < _LITTLE_ROOM_BYTES:
        return Finding("store", "warn", state, "free some room: a package and its successor must fit")
    if config.state_dir.stat().st_mode & stat.S_IWOTH:
        return Finding("store", "warn", f"{state}, writable by everybody", f"chmod o-w {config.state_dir}")
    return Finding("store", "ok", state)


def _read_only(store: Store) -> Finding:
    repair = "the card may have failed: look at `dmesg`, copy what you need, replace the card and install again"
    return Finding("store", "fail", f"{store.root} is on a read-only file system; the active models are served", repair)


def _trust(config: AgentConfig) -> Finding:
    folder = config.trust.folder
    if config.trust.allow_unsigned:
        repair = "remove trust.allow_unsigned and put your public key in the trust folder"
        return Finding("trust", "warn", "unsigned packages are accepted from anyone", repair)
    repair = f"copy the .pub file that `drupelet keygen` wrote into {folder}"
    try:
        keys = load_trust_folder(folder)
    except DrupeletError as error:
        return Finding("trust", "fail", str(error), repair)
    if not keys:
        return Finding("trust", "warn", f"no keys in {folder}, so every package is refused", repair)
    state = f"{len(keys)} trusted keys in {folder}"
    if folder.stat().st_mode & _OTHERS_WRITE:
        return Finding("trust", "warn", f"{state}, where others can add theirs", f"chmod go-w {folder}")
    return Finding("trust", "ok", state)


def _secret(key: str, path: Path) -> Finding:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        if CREDENTIALS_PREFIX in path.parts:
            repair = "credentials are there for the service alone; look at LoadCredential= in its unit"
            return Finding(key, "note", f"{path}: this is not the service", repair)
        repair = f"make it readable for uid {os.getuid()} alone: chown, then chmod 600 {path}"
        return Finding(key, "fail", f"{path}: {error.strerror}", repair)
    if mode & _OTHERS_USE:
        return Finding(key, "warn", f"{path} has mode {stat.S_IMODE(mode):03o}", f"chmod 600 {path}")
    return Finding(key, "ok", f"{path} has mode {stat.S_IMODE(mode):03o}")
