"""Names that TAB completes: detectors, suites, tasks, image sets and networks, looked for when it is pressed."""

from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

from oodbench.basics.errors import OodbenchError
from oodbench.basics.user_cache import cached_texts, sources_digest

Completion = Callable[[Context, Parameter, str], list[CompletionItem]]
"""What click calls, with the command so far, the parameter to be completed, and the letters that are typed."""


def _completion(list_names: Callable[[Context], Iterable[str]], or_files: bool = False) -> Completion:
    """Return a completion by the names that begin with what was typed; `or_files` offers files where none does."""

    def complete(context: Context, _: Parameter, typed: str) -> list[CompletionItem]:
        try:
            names = [name for name in dict.fromkeys(list_names(context)) if name.startswith(typed)]
        except (OodbenchError, OSError):
            names = []  # a broken pack or plugin is named by the command itself
        items = [CompletionItem(name) for name in names]
        return items or ([CompletionItem(typed, type="file")] if or_files else [])

    return complete


def _data(context: Context) -> Path:
    return Path(context.params.get("data") or "data")


def _detectors(context: Context) -> Iterable[str]:
    from oodbench.registry import discover

    return [*discover([Path(plugin) for plugin in context.params.get("plugins") or ()]).names(), *_word_all(context)]


def _suites(context: Context) -> Iterable[str]:
    from oodbench.suitefiles import suitefile

    return [*suitefile.names(), *_word_all(context), *sorted(str(path) for path in Path().glob("*.toml"))]


def _word_all(context: Context) -> list[str]:
    """Return the word "all", which `run` and `keep` take for every name; nothing for other verbs."""
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
    """Return the names of a kind that oodbench has, cached until any of its files changes."""
    return cached_texts("names", sources_digest(Path(str(files("oodbench")))), _names_by_kind)[kind].split()


def _names_by_kind() -> dict[str, str]:
    """Return all names of each kind as one text, to be cached: the imports take longer than anybody waits for TAB."""
    from oodbench.images.builtin import BUILTINS
    from oodbench.sources.assets import ASSETS
    from oodbench.sources.catalogue import SOURCES
    from oodbench.sources.trained import TRAINED

    kinds = {"images": [*SOURCES, *BUILTINS], "networks": TRAINED, "assets": ASSETS}
    return {kind: " ".join(names) for kind, names in kinds.items()}


detectors, suites, tasks = _completion(_detectors), _completion(_suites, or_files=True), _completion(_tasks)
architectures = _completion(_architectures, or_files=True)
image_sets, data_names = _completion(_image_sets), _completion(_data_names)
networks = _completion(_networks, or_files=True)
