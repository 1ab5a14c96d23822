"""Classes as source declares them, read without importing: which descend from a class, and what they call themselves.

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

HARMLESS_CALLS = ("TypeVar", "dict", "float", "frozenset", "int", "list", "range", "set", "sorted", "str", "tuple")
"""Names that a module may call for its constants: none of these makes a class that could be asked for."""


@dataclass(frozen=True)
class ClassDeclaration:
    """A class, as its source declares it.

    Attributes:
        name: the text of its attribute that was asked for.
        module: dotted name of the module that defines it.
        class_name: its name there.
        file: of the module.
        modules: of its bases below the root, and its own.
    """

    name: str
    module: str
    class_name: str
    file: str
    modules: frozenset[str]


def declared_classes(package: str, root: str, attribute: str) -> list[ClassDeclaration] | None:
    """Find the classes below `root` in a module, or in a package's modules, that have a text as `attribute`.

    Args:
        package: dotted name.
        root: dotted name of the class that they descend from, which is not among them.
        attribute: name of it.

    Returns:
        The classes in the order of modules and lines; None where source does not tell.
    """
    try:
        names = [package, *_submodules(package)]
        return list(_read_declarations(tuple((name, *_source(name)) for name in names), root, attribute))
    except _UnclearSourceError:
        return None


@lru_cache(maxsize=8)
def _read_declarations(
    modules: tuple[tuple[str, str, bytes], ...], root: str, attribute: str
) -> tuple[ClassDeclaration, ...]:
    """Find what `declared_classes` finds, in modules by name, file and content; parsed again only when these change."""
    sources = _Sources(root)
    return tuple(declaration for name, _, _ in modules for declaration in sources.classes(name, attribute))


class _UnclearSourceError(Exception):
    """Source does not tell."""


def _submodules(package: str) -> list[str]:
    """Names of the modules right in a package; none where the name is of a module."""
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
        imported: dotted names of what it imports, by the names that it gives them.
    """

    file: str
    body: tuple[ast.stmt, ...]
    classes: Mapping[str, ast.ClassDef]
    imported: Mapping[str, str]


class _Sources:
    """Modules whose source was read, each once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, _Module] = {}

    def classes(self, name: str, attribute: str) -> Iterator[ClassDeclaration]:
        """Find what `declared_classes` finds, in one module."""
        module = self._module(name)
        if not all(self._is_harmless(name, node) for node in module.body):
            raise _UnclearSourceError
        for class_name, node in module.classes.items():
            text = _text_attribute(node, attribute)
            if text is not None and (modules := self._modules_of_line(name, class_name)):
                yield ClassDeclaration(text, name, class_name, module.file, modules)

    def _is_harmless(self, module: str, node: ast.stmt) -> bool:
        """Whether a statement of a module makes no class but those that are written in it, and changes none."""
        if isinstance(node, ast.ClassDef):
            return _is_as_written(node)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            functions = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
            return all(
                isinstance(function, ast.Name) and self._makes_no_class(module, function.id) for function in functions
            )
        if isinstance(node, ast.If):
            return ast.unparse(node.test).endswith("TYPE_CHECKING")
        expression = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return expression or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)

    def _makes_no_class(self, module: str, called: str) -> bool:
        """Whether a call makes a plain value: one of `HARMLESS_CALLS`, or an object of a class that has no bases."""
        if called in HARMLESS_CALLS:
            return True
        known = self._module(module)
        if node := known.classes.get(called):
            return not node.bases and _is_as_written(node)
        home, _, class_name = known.imported.get(called, "").rpartition(".")
        return bool(home) and self._makes_no_class(home, class_name)

    def _modules_of_line(self, module: str, class_name: str) -> frozenset[str]:
        """Names of the modules of a class and of its bases below the root; none where it does not descend from that."""
        if f"{module}.{class_name}" == self._root:
            return frozenset([module])
        known = self._module(module)
        if class_name not in known.classes:
            return self._modules_of_line(*_split_dotted(known.imported.get(class_name)))
        ancestries = [
            self._modules_of_line(*_split_dotted(_dotted_base(known, module, base)))
            for base in known.classes[class_name].bases
        ]
        root = _split_dotted(self._root)[0]
        above = frozenset[str]().union(*ancestries)
        return (above | {module}) - {root} if above else above

    def _module(self, name: str) -> _Module:
        if name not in self._known:
            self._known[name] = _read(name)
        return self._known[name]


def _source(name: str) -> tuple[str, bytes]:
    """Path and content of a module's file."""
    spec = _spec(name)
    if spec is None or not str(spec.origin).endswith(".py"):
        raise _UnclearSourceError
    try:
        return str(spec.origin), Path(str(spec.origin)).read_bytes()
    except OSError as error:
        raise _UnclearSourceError from error


def _read(name: str) -> _Module:
    file, content = _source(name)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _UnclearSourceError from error
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    imported = dict(pair for node in tree.body for pair in _imported_names(node, package))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return _Module(file, tuple(tree.body), classes, imported)


def _spec(name: str) -> ModuleSpec | None:
    """Find where a module lies, without importing its packages, as `importlib.util.find_spec` would."""
    outer, _, _ = name.rpartition(".")
    if not outer or outer in sys.modules:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
    around = _spec(outer)
    folders = around.submodule_search_locations if around else None
    return PathFinder.find_spec(name, list(folders)) if folders else None


def _imported_names(node: ast.stmt, package: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
    elif isinstance(node, ast.ImportFrom):
        outer = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
        home = ".".join([*outer, *([node.module] if node.module else [])])
        for alias in node.names:
            yield alias.asname or alias.name, f"{home}.{alias.name}"


def _dotted_base(module: _Module, name: str, base: ast.expr) -> str:
    """The dotted name of a base class, which a class of `module`, called `name`, writes as `base`."""
    written = ast.unparse(base)
    first, dot, rest = written.partition(".")
    if written in module.classes:
        return f"{name}.{written}"
    if not all(part.isidentifier() for part in written.split(".")) or first not in module.imported:
        raise _UnclearSourceError
    return f"{module.imported[first]}{dot}{rest}"


def _split_dotted(dotted: str | None) -> tuple[str, str]:
    module, _, class_name = (dotted or "").rpartition(".")
    if not module:
        raise _UnclearSourceError
    return module, class_name


def _text_attribute(node: ast.ClassDef, attribute: str) -> str | None:
    """The text that a class gives itself as `attribute`; None where it says nothing."""
    for statement in node.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, _WITH_ONE_TARGET)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            value = getattr(statement, "value", None)
            if value is None:
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
            raise _UnclearSourceError
    return None


_WITH_ONE_TARGET = (ast.AnnAssign, ast.AugAssign)


def _is_as_written(node: ast.ClassDef) -> bool:
    """Whether the class is what its statement says: no metaclass, no decorator that makes something else of it."""
    return not node.keywords and all("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
