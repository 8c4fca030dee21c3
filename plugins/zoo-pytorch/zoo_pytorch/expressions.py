"""The texts in an exported program that torch would evaluate as Python: symbolic shapes and guards.

They are parsed and compared with a closed grammar; nothing is evaluated here.
"""

from __future__ import annotations

import ast
import re
from typing import Any

MAX_LENGTH = 20_000
#: A power may stand in a shape, but towers of them take forever.
MAX_EXPONENT = 8
MAX_POWERS = 3
#: More digits of a number than sympy ever writes.
MAX_PRECISION = 200

#: What sympy's text of a shape is made of.
_WORDS = """
    Symbol Integer Float Rational Add Mul Pow Mod PythonMod FloorDiv CeilDiv CleanDiv ModularIndexing IntTrueDiv FloatTrueDiv
    PowByNatural Max Min Abs Where Identity TruncToInt TruncToFloat CeilToInt FloorToInt RoundToInt ToFloat ceiling floor
    Equality Unequality Eq Ne LessThan StrictLessThan GreaterThan StrictGreaterThan Le Lt Ge Gt And Or Not
"""
_FUNCTIONS = frozenset(_WORDS.split())
_POWERS = ("Pow", "PowByNatural")
_NAMES = frozenset({"true", "false", "oo", "int_oo", "True", "False"})
_SYMBOL = re.compile(r"[a-z]{1,8}\d{1,6}")
_NUMBER = re.compile(r"-?[\d.]{1,40}(e[+-]?\d{1,3})?")
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
_UNARY = (ast.USub, ast.UAdd)

#: What a guard may ask of an input, and call.
_METHODS = ("size", "stride", "storage_offset", "dim", "item")
_BUILTINS = ("max", "min", "abs", "len", "int", "float")
_MATH = ("ceil", "floor", "trunc", "sqrt")


def is_shape(text: Any) -> bool:
    """Whether a text is arithmetic on symbols and numbers, as sympy writes it.

    >>> is_shape("Add(Symbol('s0', integer=True), Integer(1))"), is_shape("__import__('os').getcwd()")
    (True, False)
    """
    node = _parsed(text)
    return node is not None and _is_shape(node) and _powers(node) <= MAX_POWERS


def is_guard(text: Any) -> bool:
    """Whether a text compares sizes of inputs and numbers, as torch writes it.

    >>> is_guard("L['x'].size()[2] >= 3"), is_guard("print(L['x'])")
    (True, False)
    """
    node = _parsed(text)
    return node is not None and _is_guard(node)


def _parsed(text: Any) -> ast.expr | None:
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_shape(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Name(id=name):
            return name in _NAMES or _SYMBOL.fullmatch(name) is not None
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, _UNARY) and _is_shape(operand)
        case ast.BinOp(op=op, left=left, right=right):
            return isinstance(op, _BINARY) and _is_shape(left) and _is_shape(right)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return name in _FUNCTIONS and _is_call(name, args, [item.value for item in keywords])
    return False


def _is_call(name: str, args: list[ast.expr], keywords: list[ast.expr]) -> bool:
    if name == "Symbol":  # with assumptions
        return all(_is_number(value, 1) for value in keywords) and len(args) == 1 and _is_text(args[0], _SYMBOL)
    if name == "Float":  # with a precision
        exact = all(_is_number(value, MAX_PRECISION) for value in keywords)
        return exact and len(args) == 1 and (_is_text(args[0], _NUMBER) or _is_shape(args[0]))
    if keywords:
        return False
    if name in _POWERS:
        return len(args) == 2 and _is_shape(args[0]) and _is_exponent(args[1])
    return all(_is_shape(arg) for arg in args)


def _is_text(node: ast.expr, pattern: re.Pattern[str]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value) is not None


def _is_number(node: ast.expr, largest: int) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value <= largest


def _is_exponent(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Integer"), args=[value], keywords=[]) | ast.UnaryOp(op=ast.USub(), operand=value):
            return _is_exponent(value)
    return _is_number(node, MAX_EXPONENT)


def _powers(node: ast.expr) -> int:
    return sum(isinstance(part, ast.Name) and part.id in _POWERS for part in ast.walk(node))


def _is_guard(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float | str | None)
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, (*_UNARY, ast.Not)) and _is_guard(operand)
        case ast.BinOp(op=op, left=left, right=right):
            return isinstance(op, (*_BINARY, ast.Div)) and _is_guard(left) and _is_guard(right)
        case ast.BoolOp(values=parts) | ast.Compare(comparators=parts):
            return all(map(_is_guard, parts)) and (not isinstance(node, ast.Compare) or _is_guard(node.left))
        case ast.Subscript(value=held, slice=ast.Constant()):
            return _is_input(held) or _is_guard(held)
        case ast.Call(func=function, args=args, keywords=[]):
            return _is_function(function) and all(map(_is_guard, args))
    return False


def _is_input(node: ast.expr) -> bool:
    """Whether it is what holds the inputs, or one of them that holds others."""
    while isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "L"


def _is_function(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name in _BUILTINS
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return name in _MATH
        case ast.Attribute(value=ast.Subscript() as value, attr=name):
            return name in _METHODS and _is_input(value)
    return False
