"""Packs of images of one's own, in one call each."""

from pathlib import Path
from typing import Any

from oodbench.basics.listeners import Say, unheard
from oodbench.sources.own import PackRequest, pack


def pack_pixels(path: Path, name: str, side: int, data: Path, say: Say = unheard, **how: Any) -> Path:
    """The pack of images as squares of `side` pixels; `how` is what else a `PackRequest` says."""
    return pack(path, PackRequest(name, data, side, **how), say)


def pack_files(path: Path, name: str, data: Path, say: Say = unheard, **how: Any) -> Path:
    """The pack of image files as they are."""
    return pack(path, PackRequest(name, data, None, **how), say)
