"""The ranking score: one formula over task outputs and numbers, parsed without ``eval``.

The product form of PLE (RecSys'20, section 4.4), ``is_click ** 1.0 * is_like ** 0.5``,
also times a function of a number that a feature holds, ``* log1p(duration_ms)``, and
whatever else the few operators and functions below can say.
"""

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import cast

LONGEST, DEEPEST = 20_000, 300  # characters of a formula, and what is nested in it
OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
FUNCTIONS = {  # name -> how many arguments
    "exp": 1,
    "log1p": 1,
    "maximum": 2,
    "minimum": 2,
    "sigmoid": 1,
    "sqrt": 1,
}


def score_names(tasks: Iterable, features: Iterable) -> list[str]:
    """What a formula may use: all tasks, and the numeric features, by name.

    A task's name stands for the task where a feature bears it, too.

    Args:
        tasks: With a ``name``.
        features: With a ``name`` and a ``kind``.
    """
    plain = (f for f in features if f.kind == "numeric" and not getattr(f, "width", 0))
    numbers = [feature.name for feature in plain]
    return list(dict.fromkeys([*(task.name for task in tasks), *numbers]))


def names_in(tree: ast.expr) -> set[str]:
    """The tasks and features that a parsed formula uses.

    Args:
        tree: From ``parse_score``.
    """
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {node.id for node in names if id(node) not in calls}


def parse_score(formula: str, names: Collection[str]) -> ast.expr:
    """Parse a score formula and check every name, operator and function in it.

    Args:
        formula: For instance ``"is_click * log1p(play_time_ms) ** 0.5"``.
        names: What it may use: ``score_names``.

    Returns:
        The formula's syntax tree, for ``evaluate_score``.

    Raises:
        ValueError: It is not an expression, or uses what is not allowed.
    """
    if len(formula) > LONGEST:
        raise ValueError(
            f"score must have no more than {LONGEST} characters. Received: {len(formula)}."
        )
    try:
        tree = ast.parse(formula, mode="eval").body
        if _depth(tree) > DEEPEST:
            raise RecursionError
    except (RecursionError, MemoryError):  # what the parser says of it
        raise ValueError(
            f"score must not be nested deeper than {DEEPEST}: a sum or a product of many "
            f"is written in parts, (a + b) + (c + d). Received: {formula[:60]!r}..."
        ) from None
    except SyntaxError as error:
        raise ValueError(
            f"score must be a formula such as 'a ** 1.0 * b ** 0.5'. Received: "
            f"{formula!r} ({error.msg} at character {error.offset})."
        ) from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        _check(node, formula, names, is_function=id(node) in called)
    try:  # NaN goes through everything but what is wrong whatever the outputs
        functions = dict.fromkeys(FUNCTIONS, lambda *_: float("nan"))
        evaluate_score(tree, dict.fromkeys(names, float("nan")), functions)
    except ArithmeticError as error:
        raise ValueError(
            f"score must be defined. Received: {formula!r} ({error})."
        ) from None
    return tree


def _depth(tree: ast.expr) -> int:
    """How many operators and calls stand within each other."""
    depth, level = 0, [cast(ast.AST, tree)]
    while level:
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        depth += 1
    return depth


def _check(node: ast.AST, formula: str, names: Collection[str], is_function: bool):
    if isinstance(node, ast.Name):
        allowed = FUNCTIONS if is_function else names
        if node.id not in allowed:
            kind = "function" if is_function else "task or numeric feature"
            raise ValueError(
                f"score uses the unknown {kind} {node.id!r}. Allowed: "
                f"{', '.join(sorted(allowed))}. Received: score={formula!r}."
            )
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise ValueError(
                f"score may hold numbers only. Received: {node.value!r} in {formula!r}."
            )
    elif isinstance(node, ast.BinOp) and type(node.op) not in OPERATORS:
        raise ValueError(f"score may use + - * / ** only. Received: {formula!r}.")
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.USub):
        raise ValueError(f"score may use + - * / ** only. Received: {formula!r}.")
    elif isinstance(node, ast.Call):
        if node.keywords or not isinstance(node.func, ast.Name):
            raise ValueError(
                f"score may call {', '.join(FUNCTIONS)} with plain arguments. "
                f"Received: {formula!r}."
            )
        wanted = FUNCTIONS.get(node.func.id, len(node.args))
        if len(node.args) != wanted:
            raise ValueError(
                f"score: {node.func.id} takes {wanted} arguments. "
                f"Received: {len(node.args)} in {formula!r}."
            )
    elif not isinstance(
        node,
        ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop | ast.Load,
    ):
        raise ValueError(
            f"score may hold numbers, names of tasks and numeric features, + - * / ** and "
            f"{', '.join(FUNCTIONS)}. Received: {formula!r}."
        )


def evaluate_score(
    tree: ast.expr, outputs: Mapping[str, object], functions: Mapping[str, Callable]
):
    """Compute a parsed formula.

    Args:
        tree: From ``parse_score``.
        outputs: Name of a task or a numeric feature -> tensor ``[B]``.
        functions: An implementation of each name of ``FUNCTIONS``.

    Returns:
        The score, of the outputs' type and shape.
    """
    if isinstance(tree, ast.Constant):
        return float(cast(float, tree.value))
    if isinstance(tree, ast.Name):
        return outputs[tree.id]
    if isinstance(tree, ast.UnaryOp):
        return -evaluate_score(tree.operand, outputs, functions)
    if isinstance(tree, ast.BinOp):
        left = evaluate_score(tree.left, outputs, functions)
        right = evaluate_score(tree.right, outputs, functions)
        return OPERATORS[type(tree.op)](left, right)
    call = cast(ast.Call, tree)
    arguments = [evaluate_score(a, outputs, functions) for a in call.args]
    return functions[cast(ast.Name, call.func).id](*arguments)
