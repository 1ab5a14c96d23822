"""Classes as source declares them, read without importing: what descends from a class, and what it is called.

Source tells it where every class in question is a `class` statement with its name written there. Where something else
might be going on (a name that is computed, a class that a call makes, a base that cannot be followed) one has to
import.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import iter_modules

CALLED = ("TypeVar", "dict", "float", "frozenset", "int", "list", "range", "set", "sorted", "str", "tuple")
"""What a module may call for its constants: none of these makes a class that could be asked for."""


@dataclass(frozen=True)
class Declared:
    """A class.

    Attributes:
        name: the text of its attribute that was asked for.
        module: that defines it.
        made: what it is called there.
        file: of the module.
        modules: of its bases below the root, and its own.
    """

    name: str
    module: str
    made: str
    file: str
    modules: frozenset[str]


def declared(package: str, root: str, attribute: str) -> list[Declared] | None:
    """Classes below `root` in a module, or in a package's modules, that give themselves a text as `attribute`.

    Args:
        package: dotted name.
        root: dotted name of the class that they descend from, which is not among them.
        attribute: name of it.

    Returns:
        Them in the order of modules and lines; None where source does not tell.
    """
    try:
        here = [package, *_below(package)]
        return list(_declared(tuple((module, *_source(module)) for module in here), root, attribute))
    except _UntoldError:
        return None


@lru_cache(maxsize=8)
def _declared(here: tuple[tuple[str, str, bytes], ...], root: str, attribute: str) -> tuple[Declared, ...]:
    """What `declared` gives of modules by name, file and content: these are parsed once, and again when they change."""
    sources = _Sources(root)
    return tuple(found for module, _, _ in here for found in sources.classes(module, attribute))


class _UntoldError(Exception):
    """Source does not tell."""


def _below(package: str) -> list[str]:
    """The modules right in a package; none of a module."""
    spec = _spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [f"{package}.{info.name}" for info in iter_modules(folders)]


@dataclass(frozen=True)
class _Module:
    """A module's source.

    Attributes:
        file: where it lies.
        body: its statements.
        classes: those that it defines, by name.
        imported: what its imports call something, and the dotted name of that.
    """

    file: str
    body: tuple[ast.stmt, ...]
    classes: Mapping[str, ast.ClassDef]
    imported: Mapping[str, str]


class _Sources:
    """Modules that were looked at, each once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, _Module] = {}

    def classes(self, name: str, attribute: str) -> Iterator[Declared]:
        """What `declared` gives of one module."""
        module = self._module(name)
        if not all(self._plain(name, node) for node in module.body):
            raise _UntoldError
        for made, node in module.classes.items():
            text = _text(node, attribute)
            if text is not None and (modules := self._line(name, made)):
                yield Declared(text, name, made, module.file, modules)

    def _plain(self, module: str, node: ast.stmt) -> bool:
        """A statement of a module that makes no class but those that are written in it, and changes none."""
        if isinstance(node, ast.ClassDef):
            return _as_written(node)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
            return all(isinstance(called, ast.Name) and self._makes_no_class(module, called.id) for called in calls)
        if isinstance(node, ast.If):
            return ast.unparse(node.test).endswith("TYPE_CHECKING")
        expression = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return expression or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)

    def _makes_no_class(self, module: str, called: str) -> bool:
        """Calling it makes a plain value: of those in `CALLED`, or an object of a class that has no bases."""
        if called in CALLED:
            return True
        known = self._module(module)
        if node := known.classes.get(called):
            return not node.bases and _as_written(node)
        home, _, made = known.imported.get(called, "").rpartition(".")
        return bool(home) and self._makes_no_class(home, made)

    def _line(self, module: str, made: str) -> frozenset[str]:
        """Modules of a class and of its bases below the root; none where it does not descend from that."""
        if f"{module}.{made}" == self._root:
            return frozenset([module])
        known = self._module(module)
        if made not in known.classes:
            return self._line(*_split(known.imported.get(made)))
        lines = [self._line(*_split(_absolute(known, module, base))) for base in known.classes[made].bases]
        root = _split(self._root)[0]
        above = frozenset[str]().union(*lines)
        return (above | {module}) - {root} if above else above

    def _module(self, name: str) -> _Module:
        if name not in self._known:
            self._known[name] = _read(name)
        return self._known[name]


def _source(name: str) -> tuple[str, bytes]:
    """File and content of a module."""
    spec = _spec(name)
    if spec is None or not str(spec.origin).endswith(".py"):
        raise _UntoldError
    try:
        return str(spec.origin), Path(str(spec.origin)).read_bytes()
    except OSError as error:
        raise _UntoldError from error


def _read(name: str) -> _Module:
    file, content = _source(name)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _UntoldError from error
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    imported = dict(pair for node in tree.body for pair in _imported(node, package))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return _Module(file, tuple(tree.body), classes, imported)


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies; its packages are not imported for that, as `importlib.util.find_spec` would."""
    outer, _, _ = name.rpartition(".")
    if not outer or outer in sys.modules:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
    around = _spec(outer)
    folders = around.submodule_search_locations if around else None
    return PathFinder.find_spec(name, list(folders)) if folders else None


def _imported(node: ast.stmt, package: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom):
        outer = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
        home = ".".join([*outer, *([node.module] if node.module else [])])
        for alias in node.names:
            yield alias.asname or alias.name, f"{home}.{alias.name}"


def _absolute(module: _Module, name: str, base: ast.expr) -> str:
    """The dotted name of a class that another one is made from."""
    written = ast.unparse(base)
    first, dot, rest = written.partition(".")
    if written in module.classes:
        return f"{name}.{written}"
    if not all(part.isidentifier() for part in written.split(".")) or first not in module.imported:
        raise _UntoldError
    return f"{module.imported[first]}{dot}{rest}"


def _split(dotted: str | None) -> tuple[str, str]:
    module, _, made = (dotted or "").rpartition(".")
    if not module:
        raise _UntoldError
    return module, made


def _text(node: ast.ClassDef, attribute: str) -> str | None:
    """What a class gives itself as `attribute`; None where it says nothing."""
    for each in node.body:
        targets = each.targets if isinstance(each, ast.Assign) else [each.target] if isinstance(each, _NAMED) else []
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            value = getattr(each, "value", None)
            if value is None:
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
            raise _UntoldError
    return None


_NAMED = (ast.AnnAssign, ast.AugAssign)


def _as_written(node: ast.ClassDef) -> bool:
    """The class is what its statement says: no metaclass, and no decorator that makes something else of it."""
    return not node.keywords and all("dataclass" in ast.unparse(each) for each in node.decorator_list)
