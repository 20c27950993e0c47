"""Text of a profile with holes: `{featureId}` is filled at each call, `${ENV:NAME}` once from the environment, as a
secret.

The rule here: what came from the environment sits in a SecretStr until the moment it is sent, so no repr can show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

__all__ = [
    "Hole",
    "Json",
    "Template",
    "TextError",
    "compile_json",
    "compile_text",
    "env_names",
    "fill_json",
    "holes_of",
    "put_in",
    "variable",
]

_ENV = re.compile(r"\$\{ENV:([A-Za-z_][A-Za-z0-9_]*)\}")
_TOKEN = re.compile(r"(\$\{ENV:[^}]*\}?)|(\{\{|\}\})|\{([^{}]*)\}|([{}])")


class TextError(ValueError):
    """A text that cannot be compiled: args are what is wrong, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what, do)
        self.what = what
        self.do = do


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of one value, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """Plain parts, holes and secrets in their order."""

    parts: tuple[str | Hole | SecretStr, ...]

    @property
    def holes(self) -> frozenset[str]:
        return frozenset(part.name for part in self.parts if isinstance(part, Hole))

    @property
    def sole_hole(self) -> str | None:
        """The name of the hole when the text is that and nothing else."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only.name if isinstance(only, Hole) else None

    def fill(self, values: Mapping[str, object], encode: Callable[[str], str] = str) -> str:
        """The text with every hole filled; `encode` is applied to each value. Raises KeyError with a hole's name."""
        out = []
        for part in self.parts:
            if isinstance(part, Hole):
                out.append(encode(str(values[part.name])))
            else:
                out.append(part.get_secret_value() if isinstance(part, SecretStr) else part)
        return "".join(out)


Json = Template | int | float | bool | None | tuple["Json", ...] | Mapping[str, "Json"]
"""A JSON value whose strings are templates."""


def env_names(text: str) -> list[str]:
    """The variables that `text` asks for. Raises TextError when it opens `${ENV:` and does not close it properly."""
    names = _ENV.findall(text)
    if text.count("${ENV:") != len(names):
        raise TextError("${ENV: is not written out", "write ${ENV:NAME} with a name of letters, digits and _")
    return names


def compile_text(text: str, allowed: frozenset[str], environ: Mapping[str, str]) -> Template:
    """`text` as a template. Raises TextError for a hole that is not in `allowed`, a stray brace, or an unset
    variable.
    """
    env_names(text)
    parts: list[str | Hole | SecretStr] = []
    position = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[position : token.start()])
        position = token.end()
        asked, doubled, hole, stray = token.groups()
        if asked is not None:
            parts.append(SecretStr(variable(asked[6:-1], environ)))
        elif doubled is not None:
            parts.append(doubled[0])
        elif stray is not None:
            raise TextError(f"there is a lone {stray}", "write {{ and }} for braces that are meant as such")
        elif hole not in allowed:
            names = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "none"
            raise TextError(f"{{{hole}}} is not a placeholder here", f"possible: {names}; {{{{ and }}}} are plain braces")
        else:
            parts.append(Hole(hole))
    parts.append(text[position:])
    return Template(_joined(parts))


def _joined(parts: list[str | Hole | SecretStr]) -> tuple[str | Hole | SecretStr, ...]:
    """Neighbouring plain parts in one, empty ones left out."""
    out: list[str | Hole | SecretStr] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        elif part != "":
            out.append(part)
    return tuple(out)


def variable(name: str, environ: Mapping[str, str]) -> str:
    """What the environment holds under `name`. Raises TextError when that is nothing."""
    value = environ.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise TextError(f"the environment variable {name} is {state}", f"export {name}=... before you start the harness")
    return value


def put_in(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables put in, for what may be shown. Raises TextError."""
    env_names(text)
    return _ENV.sub(lambda found: variable(found[1], environ), text)


def compile_json(value: Any, allowed: frozenset[str], environ: Mapping[str, str]) -> Json:
    """A JSON value from TOML with every string inside compiled. Raises TextError."""
    if isinstance(value, str):
        return compile_text(value, allowed, environ)
    if isinstance(value, list):
        return tuple(compile_json(item, allowed, environ) for item in value)
    if isinstance(value, dict):
        return {key: compile_json(item, allowed, environ) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TextError(f"a {type(value).__name__} cannot be written in JSON", "use text, numbers, true, false, arrays, tables")


def fill_json(value: Json, values: Mapping[str, object]) -> Any:
    """The JSON value with every hole filled. Raises KeyError with a hole's name.

    A member of an object that is one hole and nothing else takes the value as it is, and is left out when there is
    none.
    """
    if isinstance(value, Template):
        hole = value.sole_hole
        return values[hole] if hole is not None else value.fill(values)
    if isinstance(value, tuple):
        return [fill_json(item, values) for item in value]
    if isinstance(value, Mapping):
        return {
            key: fill_json(item, values)
            for key, item in value.items()
            if not (isinstance(item, Template) and item.sole_hole is not None and item.sole_hole not in values)
        }
    return value


def holes_of(value: Json) -> frozenset[str]:
    """The names of all holes inside."""
    if isinstance(value, Template):
        return value.holes
    if isinstance(value, tuple):
        return frozenset().union(*(holes_of(item) for item in value))
    if isinstance(value, Mapping):
        return frozenset().union(*(holes_of(item) for item in value.values()))
    return frozenset()
