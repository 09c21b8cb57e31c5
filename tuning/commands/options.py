"""Options of commands, made from the fields of `SearchSettings`."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from tuning.points import given_points
from tuning.settings import SearchSettings


class _Parsed(click.ParamType):
    """A type whose values a function reads; it raises ValueError for a bad one."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        return self.parse(value) if isinstance(value, str) else value


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pixels(text: str) -> int | tuple[int, ...]:
    try:
        sides = tuple(map(int, text.split()))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a valid integer.") from None
    return sides[0] if len(sides) == 1 else sides


_GIVEN = _Parsed("values", given_points)
_TYPES: dict[str, click.ParamType] = {
    "data": click.Path(readable=False),
    "directory": click.Path(readable=False),
    "tune": _Parsed("names", _patterns),
    "image_size": _Parsed("pixels", _pixels),
    "start_with": _GIVEN,
    "add": _GIVEN,
}
_METAVARS = {"model": "MODULE:CLASS", "trial_timeout": "SECONDS"}
# What a text on the command line can be, beside what the setting's own text says.
_MORE = {
    "tune": " Separated by commas.",
    "start_with": " Here, presets and .json files of values, separated by commas.",
    "add": " Presets and .json files of values, separated by commas.",
}


class SearchCommand(click.Command):
    """A command whose --image-size takes one number, or two."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        words = list(arguments)
        for index, word in enumerate(words[:-2]):
            if word == "--image-size" and words[index + 2].isdecimal():
                words[index + 1 : index + 3] = [" ".join(words[index + 1 : index + 3])]
        return super().parse_args(context, words)


def setting(name: str) -> Any:
    """Return a decorator that gives a command the option of a setting."""
    field = SearchSettings.model_fields[name]
    kind = _kind(field.annotation)
    is_switch = kind is bool
    return click.option(
        "--" + name.replace("_", "-"),
        type=None if is_switch else _TYPES.get(name, kind),
        is_flag=is_switch,
        default=field.default,
        show_default=field.default not in (None, ()) and not is_switch,
        metavar=_METAVARS.get(name),
        help=inspect.cleandoc(field.description or "") + _MORE.get(name, ""),
    )


def _kind(annotation: Any) -> Any:
    """Return the plain type, or the choices, of a field's annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return click.Choice(arguments)
    if origin in (Annotated, Union, types.UnionType):
        return _kind(arguments[0])
    return str if annotation is Any else annotation
