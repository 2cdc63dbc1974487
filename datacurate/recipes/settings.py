"""Recipes from names, dictionaries, TOML files and single settings; their hash and difference."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from datacurate.errors import RecipeError, UnknownNameError
from datacurate.fingerprints import configuration_hash
from datacurate.recipes.fields import AS_BEFORE, ProfileRecipe, VerifyRecipe, within

Recipe = TypeVar("Recipe", ProfileRecipe, VerifyRecipe)


def load(table: Mapping[str, Recipe], name: str) -> Recipe:
    """Return a recipe by its name in a table, or from a TOML file.

    A file holds the recipe's fields, groups as tables; ``base = "proxy"`` starts from a named
    recipe instead of the defaults.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    RecipeError
        For a file that is not TOML or whose fields are not valid.
    """
    if not name.endswith(".toml"):
        if name not in table:
            raise UnknownNameError("recipe", name, table, hint="give one of these, or a .toml file")
        return table[name]
    try:
        values = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"the recipe file {name} cannot be read: {error}") from error
    base = load(table, str(values.pop("base", "paper")))
    title = str(values.pop("name", Path(name).stem))
    return with_values(replace(base, name=title, summary=f"from {name}"), values)


def as_dict(recipe: Any) -> dict[str, Any]:
    """Return a recipe as nested dictionaries of plain JSON values.

    A field that was added to published recipes is left out at the value that means "as before", so
    that their hashes stay valid; `from_dict` restores it.
    """
    plain: dict[str, Any] = {}
    for item in dataclasses.fields(recipe):
        value = getattr(recipe, item.name)
        if AS_BEFORE in item.metadata and value == item.metadata[AS_BEFORE]:
            continue
        if dataclasses.is_dataclass(value):
            value = as_dict(value)
        plain[item.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_dict(kind: type[Recipe], values: Mapping[str, Any]) -> Recipe:
    """Return a recipe from the nested dictionaries that `as_dict` returns.

    A missing field has the value that means "as before", or its default.

    Raises
    ------
    RecipeError, UnknownNameError
        For a key that does not exist or a value of the wrong type.
    """
    if "name" not in values:
        raise RecipeError("the recipe has no name", expected='name = "..."')
    base: Recipe = _as_before(kind(str(values["name"]), str(values.get("summary", ""))))
    return with_values(base, {k: v for k, v in values.items() if k not in ("name", "summary")})


def recipe_hash(recipe: ProfileRecipe | VerifyRecipe) -> str:
    """Return 16 hex digits: the hash of everything in a recipe that affects its result."""
    return stored_recipe_hash(as_dict(recipe))


def stored_recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Return the hash of a recipe from its stored values alone.

    It equals `recipe_hash` of the version that wrote the recipe. Versions whose recipes have other
    fields compute the same hash.
    """
    return configuration_hash({k: v for k, v in recipe.items() if k != "summary"})


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return a recipe with single fields changed, as by ``--set training.epochs=20``.

    Parameters
    ----------
    recipe : ProfileRecipe or VerifyRecipe
    settings : sequence of str
        Each ``key=value``. A key is a dotted path or the end of one. If several paths end in it,
        the shallowest is meant, and paths in ``training`` come first.

    Raises
    ------
    RecipeError, UnknownNameError
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise RecipeError(
                f"--set {setting} has no value", expected="key=value", hint=f"--set {key}=..."
            )
        path = _full_key(recipe, key.strip())
        here = values
        *parents, last = path.split(".")
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = text.strip()
    if settings:
        # The summary describes the named recipe, so it must say what was changed.
        recipe = replace(recipe, summary=f"{recipe.summary}; changed: {', '.join(settings)}")
    return with_values(recipe, values)


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return a recipe with nested values changed; strings are parsed to the field's type.

    Raises
    ------
    RecipeError, UnknownNameError
    """
    changed: Recipe = _changed(recipe, values, "")
    check(changed)
    return changed


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return a line ``key: old → new`` for every field in which two recipes (or dicts) differ."""
    a = as_dict(old) if dataclasses.is_dataclass(old) else old
    b = as_dict(new) if dataclasses.is_dataclass(new) else new
    lines: list[str] = []
    for key in sorted(set(a) | set(b)):
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            lines += differences(left, right, f"{prefix}{key}.")
        elif left != right and f"{prefix}{key}" != "summary":
            lines.append(f"{prefix}{key}: {left} → {right}")
    return lines


def check(recipe: Any, prefix: str = "") -> None:
    """Raise unless every number of a recipe is in the range of its field.

    Raises
    ------
    RecipeError
    """
    for item in dataclasses.fields(recipe):
        value = getattr(recipe, item.name)
        if dataclasses.is_dataclass(value):
            check(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not within(value, item.metadata):
            limits = " and ".join(
                f"{word} {limit:g}" for word, limit in item.metadata.items() if word != AS_BEFORE
            )
            raise RecipeError(
                f"recipe field {prefix}{item.name} is out of range",
                expected=limits.replace("least", "at least").replace("most", "at most"),
                got=str(value),
            )


def keys(recipe: Any, prefix: str = "") -> list[str]:
    """Return the dotted path of every field that can be set."""
    paths: list[str] = []
    for item in dataclasses.fields(recipe):
        value = getattr(recipe, item.name)
        if dataclasses.is_dataclass(value):
            paths += keys(value, f"{prefix}{item.name}.")
        elif prefix + item.name not in ("name", "summary"):
            paths.append(prefix + item.name)
    return paths


def _as_before(node: Any) -> Any:
    """Return a recipe whose later fields have the value that means "as before"."""
    updates: dict[str, Any] = {}
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if AS_BEFORE in item.metadata:
            updates[item.name] = item.metadata[AS_BEFORE]
        elif dataclasses.is_dataclass(value):
            updates[item.name] = _as_before(value)
    return replace(node, **updates)


def _full_key(recipe: Any, key: str) -> str:
    """Return the dotted path that a key means: the key itself, or a path that ends in it.

    Paths in ``training`` come first, because users change these most; then the shallowest.
    """
    known = keys(recipe)
    if key in known:
        return key
    ending = sorted((full for full in known if full.endswith(f".{key}")), key=_depth)
    if not ending:
        last_parts = {full.rsplit(".", 1)[-1] for full in known}
        raise UnknownNameError("recipe key", key, known, short=last_parts)
    if len(ending) > 1 and _depth(ending[0]) == _depth(ending[1]):
        raise RecipeError(
            f"recipe key {key!r} is ambiguous", expected="one of " + ", ".join(ending), got=key
        )
    return ending[0]


def _depth(key: str) -> tuple[bool, int]:
    return not key.startswith("training."), key.count(".")


def _changed(node: Any, values: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(type(node))
    known = [item.name for item in dataclasses.fields(node)]
    updates: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownNameError("recipe key", prefix + key, [prefix + name for name in known])
        current = getattr(node, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise RecipeError(
                    f"recipe key {prefix + key!r} is a group of fields",
                    expected=f"{prefix}{key}.FIELD",
                    got=str(value),
                )
            updates[key] = _changed(current, value, f"{prefix}{key}.")
        else:
            updates[key] = _parsed(hints[key], value, prefix + key)
    return replace(node, **updates)


def _parsed(kind: Any, value: Any, key: str) -> Any:
    """Return a value of the field's type, from a string or a value of a TOML file."""
    origin = get_origin(kind)
    try:
        if origin is Literal:
            if value not in get_args(kind):
                raise UnknownNameError(f"value for {key}", str(value), get_args(kind))
            return value
        if origin is types.UnionType:
            if value is None or value in ("none", "auto"):
                return None
            return _parsed(get_args(kind)[0], value, key)
        if origin is tuple:
            parts = value.strip("()[] ").split(",") if isinstance(value, str) else value
            inner = get_args(kind)[0]
            return tuple(_parsed(inner, part, key) for part in parts if str(part).strip())
        if kind is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return value if isinstance(value, bool) else words[str(value).lower()]
        if kind is float:
            text = str(value)
            number = float(text.removesuffix("/255")) if isinstance(value, str) else float(value)
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError(text)
            return number
        if kind is int:
            if isinstance(value, bool) or int(value) != float(value):
                raise ValueError(str(value))
            return int(value)
        if isinstance(value, str):
            return value
    except (ValueError, TypeError, KeyError):
        pass
    wanted = getattr(kind, "__name__", str(kind))
    raise RecipeError(f"recipe field {key} takes {wanted}", expected=wanted, got=repr(value))
