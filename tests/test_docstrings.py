"""What public docstrings and errors must say; every file is read, none imported."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("components", "models", "pipeline")
LOWER = FLOORS[:2]
OURS = (*FLOORS, "benchmarks", "docker", "tests", "tools")
SINGLE = re.compile(r"(?<!`)`(?!`)[^`]+`(?!`)")
SECTIONS = re.compile(r"^ *(?:Args|Call arguments|Attributes):$", re.M)
ENTRY = r"^( *)(?:\w+, )*{}(?:, \w+)*: (.*(?:\n\1 +.*)*)"
# Keras' own, the same in every layer and optimizer: their arguments are Keras' to explain
KERAS = {"build", "get_config", "from_config", "update_step"}
# how large a tensor is, that it is one number, or where it is said
SIZED = re.compile(r"``\[|scalar|shape|number|as for|as of|tensor|variable", re.I)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def trees(*tops: str) -> dict[str, ast.Module]:
    files = [file for top in tops for file in sorted((ROOT / top).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): parsed(file) for file in files}


def documented(tops: tuple[str, ...]):
    """``(where, node, docstring)`` of all that can have one."""
    for path, tree in trees(*tops).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                said = ast.get_docstring(node) or ""
                yield f"{path}:{getattr(node, 'lineno', 1)}", node, said


def arguments(function: ast.FunctionDef) -> list[str]:
    """All but self and ``**kwargs``, and what is called ``_``."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    names = [argument.arg for argument in every]
    return [name for name in names if name.strip("_") and name not in ("self", "cls")]


def public(tree: ast.AST, above: str = "") -> list[tuple[ast.FunctionDef, str]]:
    """Functions and methods that others may call, with what their class says."""
    found = []
    for node in ast.iter_child_nodes(tree):
        name = getattr(node, "name", "_")
        if isinstance(node, ast.ClassDef) and not name.startswith("_"):
            found += public(node, ast.get_docstring(node) or "(none)")
        elif isinstance(node, ast.FunctionDef):
            own = above and name in ("__init__", "__call__", "call")
            if own or not name.startswith("_"):
                found.append((node, above))
    return found


def unnamed(function: ast.FunctionDef, above: str) -> list[str]:
    """Arguments that neither the docstring nor, for a layer's call, the class names."""
    said = ast.get_docstring(function) or ""
    if function.name in ("__init__", "__call__", "call"):
        said += above
    if function.name in KERAS:
        return []
    said = said.replace("Input shape:", "inputs: Input shape:")  # as Keras' layers say it
    return [name for name in arguments(function) if not is_named(name, said)]


def is_named(name: str, said: str) -> bool:
    """In the list of arguments; where there is none, anywhere."""
    if SECTIONS.search(said) or "Input shape:" in said:
        return bool(re.search(ENTRY.format(name), said, re.M))
    return bool(re.search(rf"\b{name}\b", said))


def test_docstrings_have_one_kind_of_backtick():
    found = [(where, SINGLE.findall(said)) for where, _, said in documented(OURS)]
    assert len(found) > 3000
    assert not [each for each in found if each[1]]


def test_all_that_is_public_in_the_lower_floors_has_a_docstring():
    lacking = []
    for path, tree in trees(*LOWER).items():
        lacking += [] if ast.get_docstring(tree) else [path]
        lacking += [
            f"{path}:{function.lineno} {function.name}"
            for function, _ in public(tree)
            if not function.name.startswith("__") and not ast.get_docstring(function)
        ]
        lacking += [
            f"{path}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not ast.get_docstring(node)
        ]
    assert not lacking


def test_docstrings_of_the_lower_floors_name_every_argument():
    lacking = [
        f"{path}:{function.lineno} {function.name}: {names}"
        for path, tree in trees(*LOWER).items()
        for function, above in public(tree)
        if (names := unnamed(function, above))
    ]
    assert not lacking


def test_a_list_of_arguments_names_all_of_them():
    """Of pipeline's classes and functions; ruff's D417 sees no classes."""
    lacking = []
    for path, tree in trees("pipeline").items():
        for function, above in public(tree):
            said = ast.get_docstring(function) or ""
            if SECTIONS.search(said) or (function.name == "__init__" and "Args:" in above):
                names = unnamed(function, above)
                lacking += [f"{path}:{function.lineno} {names}"] if names else []
    assert not lacking


def tensors(function: ast.FunctionDef) -> set[str]:
    """Arguments without annotation and default that ``tf`` or ``np`` compute with."""
    given = function.args
    needed = given.args[: len(given.args) - len(given.defaults)]
    pairs = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    needed += [argument for argument, default in pairs if default is None]
    taken = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if re.match(r"(tf|np)\.(?!keras)", ast.unparse(node.func)):
                parts = [part for given in node.args for part in ast.walk(given)]
                taken |= {part.id for part in parts if isinstance(part, ast.Name)}
    return {a.arg for a in needed if a.annotation is None} & taken


def told(name: str, said: str) -> str:
    """What a docstring says of one argument: its entry, or all where there is no list."""
    entry = re.search(ENTRY.format(name), said, re.M)
    return entry[2] if entry else said


def test_tensors_are_told_with_their_shape():
    """Functions of components; classes say it under ``Call arguments``."""
    lacking = []
    for path, tree in trees("components").items():
        for function in tree.body:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                said = ast.get_docstring(function) or ""
                lacking += [
                    f"{path}:{function.lineno} {function.name}: {name}"
                    for name in sorted(tensors(function))
                    if not SIZED.search(told(name, said))
                ]
    assert not lacking


def refusals():
    """Where the pipeline refuses, by name of the error, and its text."""
    ours = {"InputError", "PassingError", "DivergenceError", "ExistsError", "NoRowsError"}
    for path, tree in trees("pipeline").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                if ast.unparse(node.exc.func) in ours:
                    yield f"{path}:{node.lineno}", node.exc.args[0]


def test_a_refusal_says_what_was_received():
    """A value in its text, or the word where there is none to show (neither, both).

    Texts of the config's own checks are left out: what a key holds is added to them, see
    ``config.hints``.
    """
    found = list(refusals())
    assert len(found) > 200
    lacking = [
        where
        for where, text in found
        if isinstance(text, ast.Constant | ast.JoinedStr)
        and not any(isinstance(part, ast.FormattedValue) for part in ast.walk(text))
        and "Received: " not in ast.unparse(text)
    ]
    assert not lacking


MENDS = re.compile(
    r"(?:[.:;] |^)(?:Add|Allowed|Ask|Bring|Check|Choose|Copy|Draw|End|Evaluate|Export|Free"
    r"|Give|Install|Leave|Look|Lower|Make|Mend|Move|Name|Pass|Preprocess|Put|Raise|Release|Remove"
    r"|Rename|Roll|Run|Score|Set|Start|Sweep|Take|Train|Try|Unset|Use|Wait|Write)\b"
    r"|[:;] (?:choose|evaluate|export|give|name|preprocess|remove|set|take|train|try)\b"
    r"|--[a-z]+"
)


def is_advice(put: ast.expr) -> bool:
    """Whether what is put into a text says it: a constant, a call, or a stage's words."""
    told = isinstance(put, ast.Name) and (put.id.isupper() or put.id in ("hint", "said"))
    return told or isinstance(put, ast.Call | ast.Subscript | ast.BoolOp)


def test_a_refusal_says_how_to_mend_it():
    """By a word that begins a sentence, or by a sentence that is put in."""
    lacking = []
    for where, text in refusals():
        if isinstance(text, ast.Constant | ast.JoinedStr):
            parts = list(ast.walk(text))
            said = "".join(str(p.value) for p in parts if isinstance(p, ast.Constant))
            put = [p.value for p in parts if isinstance(p, ast.FormattedValue)]
            if not MENDS.search(said) and not any(map(is_advice, put)):
                lacking.append(f"{where} {said}")
    assert not lacking
