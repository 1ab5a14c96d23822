"""The text of a Python file that counts in a digest of code: without remarks, and without places in the harness.

Comments, docstrings, blank lines and trailing blanks do not count. They are found with `ast` and `tokenize`, and the
rest is kept as it is written, since trees and tokens differ from one Python to the next; what cannot be parsed counts
byte by byte.

Of an import from the harness the imported names count, and of a dotted name of one of its modules the last part: in
which package a module of the harness lies moves no digest.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import decode_source

from oodbench.basics.files import digest

HARNESS = "oodbench"
METHODS = "oodbench.detectors"
"""The built-in methods: the part of oodbench that is hashed like anybody's."""

COMPUTED = ("import_module", "__import__", "spec_from_file_location", "run_path", "run_module")
"""Calls that import something; where what they import is computed, all files beside the module count."""


@dataclass(frozen=True)
class Import:
    """A module that some source asks for: `level` dots, a dotted name, and what might be a module in it."""

    level: int
    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A file as digests see it: its text without what does not count, and what it imports.

    Attributes:
        computed: whether it imports something by a name that is not written there.
    """

    normal: str
    imports: tuple[Import, ...] = ()
    computed: bool = False


def in_harness(module: str) -> bool:
    """Whether a module of that name is the harness's: of oodbench, and no built-in method."""
    return _lies_in(module, HARNESS) and not _lies_in(module, METHODS)


def _lies_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@lru_cache(maxsize=1024)
def read(content: bytes) -> Source:
    """Read a file's content as digests see it; what no parser takes counts byte by byte."""
    try:
        original = decode_source(content)
        original_tree = ast.parse(original)
        text = _without_places(original_tree, original)
        tree = original_tree if text == original else ast.parse(text)
        lines = _without_comments(text)
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
        tokenize.TokenError,
    ):  # compiled code, or what no parser takes
        return Source(digest(content))
    cut, named = set[int](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and "__doc__" not in text:
            cut |= _docstring_lines(node, text)
        elif (
            isinstance(node, ast.Import | ast.ImportFrom)
            and _imports_harness(node)
            and (span := _whole_lines(node, text))
        ):
            cut |= span
            named += [ast.unparse(ast.Import([_alias_without_place(alias)])) for alias in node.names]
    kept = [line for number, line in lines if number not in cut]
    written_imports = [_written_import(call) for call in _importing_calls(original_tree)]
    imports = [*_imports(original_tree), *(written for written in written_imports if written is not None)]
    return Source("\n".join([*sorted(named), *kept]), tuple(imports), None in written_imports)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _docstring_lines(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> set[int]:
    """Numbers of the lines of a docstring, if there is one."""
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return _whole_lines(first, text)
    return set()


def _imports_harness(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether the statement imports from the harness alone."""
    if isinstance(node, ast.Import):
        return all(_is_harness_module(alias.name) for alias in node.names)
    return not node.level and in_harness(str(node.module))


def _is_harness_module(name: str) -> bool:
    """Whether it is the dotted name of a module somewhere in the harness."""
    return in_harness(name) and name != HARNESS


def _alias_without_place(alias: ast.alias) -> ast.alias:
    return ast.alias(alias.name.rpartition(".")[2] if _is_harness_module(alias.name) else alias.name, alias.asname)


_Edit = tuple[tuple[int, int], tuple[int, int], str]
"""Begin and end of some text, as line and byte from 0, and the text to put in its place."""


def _without_places(tree: ast.AST, text: str) -> str:
    """`text` with the last part of their names for modules of the harness.

    Import statements that have their lines to themselves stay as they are: they are cut as a whole.
    """
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules = {name for name in imported if _is_harness_module(name)}
    edits = [edit for node in ast.walk(tree) for edit in _edits(node, text, modules)]
    outermost = list[_Edit]()
    for edit in sorted(edits, key=lambda edit: (edit[0], [-number for number in edit[1]])):
        if not outermost or edit[0] >= outermost[-1][1]:
            outermost.append(edit)
    rows = text.encode().split(b"\n")
    # From the back, so that what is replaced does not move what is still to be.
    for (first, start), (last, end), replacement in reversed(outermost):
        rows[first : last + 1] = [rows[first][:start] + replacement.encode() + rows[last][end:]]
    return b"\n".join(rows).decode()


def _edits(node: ast.AST, text: str, modules: set[str]) -> Iterator[_Edit]:
    if modules and isinstance(node, ast.Attribute) and ast.unparse(node) in modules:
        yield _edit_of(node, node.attr)
    elif isinstance(node, ast.Call) and (constant := _harness_constant(node)):
        yield _edit_of(constant, repr(str(constant.value).rpartition(".")[2]))
    elif isinstance(node, ast.Import | ast.ImportFrom) and not (_imports_harness(node) and _whole_lines(node, text)):
        if isinstance(node, ast.Import):
            yield from (
                _edit_of(alias, ast.unparse(_alias_without_place(alias)))
                for alias in node.names
                if _is_harness_module(alias.name)
            )
        elif _imports_harness(node):
            yield _edit_of(node, ast.unparse(ast.ImportFrom(HARNESS, node.names, 0)))


def _edit_of(node: ast.expr | ast.stmt | ast.alias, replacement: str) -> _Edit:
    end = (node.end_lineno or node.lineno) - 1, node.end_col_offset or node.col_offset
    return (node.lineno - 1, node.col_offset), end, replacement


def _harness_constant(call: ast.Call) -> ast.Constant | None:
    """The name of a harness module that a call imports, if it does."""
    first = call.args[0] if call.args else None
    names_harness = isinstance(first, ast.Constant) and isinstance(first.value, str) and _is_harness_module(first.value)
    return first if names_harness and _called_name(call) in COMPUTED[:2] and isinstance(first, ast.Constant) else None


def _whole_lines(node: ast.stmt, text: str) -> set[int]:
    """Numbers of a statement's lines, where it shares them with nothing but a comment; else none."""
    rows = text.encode().split(b"\n")
    first, last = node.lineno, node.end_lineno or node.lineno
    before, after = rows[first - 1][: node.col_offset], rows[last - 1][node.end_col_offset :].strip()
    return set(range(first, last + 1)) if not before.strip() and (not after or after.startswith(b"#")) else set()


def _without_comments(text: str) -> list[tuple[int, str]]:
    """The lines of `text` by number, without comments, trailing blanks and blank lines; strings stay as they are."""
    rows = text.split("\n")
    inside, opened = set[int](), list[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            rows[token.start[0] - 1] = rows[token.start[0] - 1][: token.start[1]]
        elif kind == "STRING":
            inside |= set(range(token.start[0], token.end[0]))
        elif kind in ("FSTRING_START", "TSTRING_START"):
            opened.append(token.start[0])
        elif kind in ("FSTRING_END", "TSTRING_END"):
            inside |= set(range(opened.pop(), token.end[0]))
    kept = list[tuple[int, str]]()
    for number, row in enumerate(rows, 1):
        line = row if number in inside else row.rstrip()
        goes_on = bool(kept) and kept[-1][1].endswith("\\")
        if line or number in inside or goes_on:
            kept.append((number, line))
    return kept


def _imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", tuple(alias.name for alias in node.names))


def _importing_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls in a tree that import something."""
    return (call for call in ast.walk(tree) if isinstance(call, ast.Call) and _called_name(call) in COMPUTED)


def _called_name(call: ast.Call) -> str:
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def _written_import(call: ast.Call) -> Import | None:
    """The module that a call imports by a name that is written there; None if its name is computed."""
    name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if not isinstance(name, str) or _called_name(call) not in COMPUTED[:2]:
        return None
    bare = name.lstrip(".")
    return Import(len(name) - len(bare), bare)
