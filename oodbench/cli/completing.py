"""What TAB offers in place of a name: detectors, suites, tasks, image sets and networks, found when it is pressed."""

from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

from oodbench.basics.errors import OodbenchError
from oodbench.basics.user_cache import kept, sources_digest

Completion = Callable[[Context, Parameter, str], list[CompletionItem]]
"""What click asks: the command so far, what is to be completed of it, and the letters that are typed."""


def _names(found: Callable[[Context], Iterable[str]], or_files: bool = False) -> Completion:
    """Names that begin as what was typed; where none does and a file would do, the shell looks for files."""

    def complete(context: Context, _: Parameter, typed: str) -> list[CompletionItem]:
        try:
            names = [name for name in dict.fromkeys(found(context)) if name.startswith(typed)]
        except (OodbenchError, OSError):
            names = []  # a broken pack or plugin is named by the command itself
        items = [CompletionItem(name) for name in names]
        return items or ([CompletionItem(typed, type="file")] if or_files else [])

    return complete


def _data(context: Context) -> Path:
    return Path(context.params.get("data") or "data")


def _detectors(context: Context) -> Iterable[str]:
    from oodbench.registry import discover

    return [*discover([Path(plugin) for plugin in context.params.get("plugins") or ()]).names(), *_all(context)]


def _suites(context: Context) -> Iterable[str]:
    from oodbench.suitefiles import suitefile

    return [*suitefile.names(), *_all(context), *sorted(str(path) for path in Path().glob("*.toml"))]


def _all(context: Context) -> list[str]:
    """The word that `run` and `keep` take for every name."""
    return ["all"] if context.info_name in ("run", "keep") else []


def _tasks(_: Context) -> Iterable[str]:
    from oodbench.tasks import KINDS

    return KINDS


def _image_sets(context: Context) -> Iterable[str]:
    data = _data(context)
    return [*_known("images"), *(sorted(pack.stem for pack in data.glob("*.h5")) if data.is_dir() else [])]


def _networks(_: Context) -> Iterable[str]:
    return _known("networks")


def _architectures(_: Context) -> Iterable[str]:
    from oodbench.networks import names

    return names()


def _data_names(context: Context) -> Iterable[str]:
    from oodbench.training import pretrained

    return [*_image_sets(context), *_networks(context), *_known("assets"), *pretrained.known(_data(context))]


def _known(kind: str) -> list[str]:
    """Names of a kind that oodbench has, kept until any of its files changes."""
    return kept("names", sources_digest(Path(str(files("oodbench")))), _every_name)[kind].split()


def _every_name() -> dict[str, str]:
    """By kind, as one text each: importing all that reads image sets takes longer than anybody waits for TAB."""
    from oodbench.images.builtin import BUILTINS
    from oodbench.sources.assets import ASSETS
    from oodbench.sources.catalogue import SOURCES
    from oodbench.sources.trained import TRAINED

    kinds = {"images": [*SOURCES, *BUILTINS], "networks": TRAINED, "assets": ASSETS}
    return {kind: " ".join(names) for kind, names in kinds.items()}


detectors, suites, tasks = _names(_detectors), _names(_suites, or_files=True), _names(_tasks)
architectures = _names(_architectures, or_files=True)
image_sets, networks, data_names = _names(_image_sets), _names(_networks, or_files=True), _names(_data_names)
