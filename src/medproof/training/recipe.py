"""Recipes: one YAML file describes one training run. Unknown keys are refused with the closest right name. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from medproof.errors import UserError
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.sections import Section
from medproof.training.watch_recipe import WatchedRecipe


class Recipe(WatchedRecipe):
    """A whole run of supervised fine-tuning."""

    kind: Literal["sft"] = "sft"
    name: str = "sft"
    answer_weight: float = Field(
        default=12.0, gt=0, description="weight of the answer letter's token against 1 for every other target token"
    )

    @model_validator(mode="after")
    def _attack_can_be_served(self) -> Recipe:
        if self.adversarial is not None:
            self.adversarial.check_for_sft()
        return self


AnyRecipe = Recipe | GrpoRecipe
_KINDS: dict[str, type[Recipe] | type[GrpoRecipe]] = {"sft": Recipe, "grpo": GrpoRecipe}


def load_recipe(path: Path, overrides: list[str] | None = None) -> AnyRecipe:
    """Read a YAML recipe of either `kind` and apply dotted `key=value` overrides, values read as YAML.

    Raises UserError for a missing file, bad YAML, an unknown key (naming the closest one) or a bad value.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"recipe {path} not found: recipes/ holds the ones that come with the project") from error
    except yaml.YAMLError as error:
        raise UserError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"recipe {path} is not a mapping of keys to values")
    for override in overrides or []:
        _override(content, override)
    kind = content.get("kind", "sft")
    if kind not in _KINDS:
        raise UserError(f"recipe {path}: kind {kind!r} is unknown: use {' or '.join(_KINDS)}")
    try:
        return _KINDS[kind].model_validate(content)
    except ValidationError as error:
        raise UserError(f"recipe {path}: {_first_problem(error, _KINDS[kind])}") from error


def _override(content: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"override {text!r} is not of the form key=value, as in optim.steps=100")
    *parents, last = key.strip().split(".")
    node = content
    for part in parents:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise UserError(f"override {text!r}: {part!r} is a value, not a section")
        node = child
    node[last] = yaml.safe_load(value)


def _first_problem(error: ValidationError, recipe: type[Section]) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{where or 'recipe'}: {problem['msg'].removeprefix('Value error, ')}"
    *parents, wrong = problem["loc"]
    known = sorted(_fields(recipe, parents))
    close = difflib.get_close_matches(str(wrong), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"unknown key {where!r}: {hint}"


def _fields(recipe: type[Section], parents: list[int | str]) -> list[str]:
    """Names allowed in the section that `parents` leads to; places in a list are passed over."""
    section = recipe
    for part in parents:
        if isinstance(part, str):
            section = next(_sections(section.model_fields[part].annotation))
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The section types named in a type, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
