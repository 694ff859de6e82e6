"""Condition text to Condition, with one key for one condition. No torch.

The key is the shortest text that says everything: positional arguments always written out, key=value arguments only
where they differ from their default. So `pgd(linf, 8/255)` and `pgd(linf,16/510,20,restarts=1)` both have the key
`pgd(linf,8/255,20)`.
"""

import difflib
from functools import cache
from importlib import import_module

from medproof.conditions.kind import Arguments, Kind
from medproof.errors import UserError
from medproof.models.protocol import Model
from medproof.records import Condition

MODULES = (
    "controls",
    "hints",
    "wording",
    "cues",
    "removal",
    "geometry",
    "options",
    "protocols",
    "noise",
    "corruptions",
    "adversarial",
)
"""Modules of this package with a tuple `KINDS`; in the order that help lists them."""


@cache
def kinds() -> dict[str, Kind]:
    """Every condition by name."""
    found = [kind for module in MODULES for kind in import_module(f"medproof.conditions.{module}").KINDS]
    return {kind.name: kind for kind in found}


def names() -> dict[str, str]:
    """Help line of every condition, by how it is written."""
    return {kind.usage: kind.help for kind in kinds().values()}


def kind_of(condition: Condition) -> Kind:
    """The kind behind a condition. Raises UserError for an unknown name."""
    known = kinds()
    if condition.name in known:
        return known[condition.name]
    close = difflib.get_close_matches(condition.name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"no condition is called {condition.name!r}: {hint}there are {', '.join(known)}")


def resolve(text: str) -> Condition:
    """The condition that `text` names, arguments checked and made canonical, expected behaviour and twin filled in.

    Raises UserError for an unknown name and for missing, surplus or impossible arguments.
    """
    written = Condition.parse(text)
    kind = kind_of(written)
    given = _by_name(kind, written)
    full: dict[str, str] = {}
    for parameter in kind.parameters:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            raise UserError(f"condition {text!r} needs {parameter.name}: write {kind.usage}")
        try:
            full[parameter.name] = parameter.read(value, full)
        except UserError as error:
            raise UserError(f"condition {text!r}: {error}") from None
    return Condition(
        name=kind.name,
        args=tuple(full[p.name] for p in kind.parameters if p.positional),
        kwargs={p.name: full[p.name] for p in kind.parameters if not p.positional and full[p.name] != p.default},
        expected=kind.expected(full) if callable(kind.expected) else kind.expected,
        twin=kind.twin(full),
    )


def arguments(condition: Condition) -> Arguments:
    """Every argument of a resolved condition by name, defaults filled in: what its kind computes with."""
    kind = kind_of(condition)
    given = _by_name(kind, condition)
    return {p.name: given.get(p.name, p.default or "") for p in kind.parameters}


def check_model(condition: Condition, model: Model) -> None:
    """Raises UserError, before any work is done, when `model` cannot run `condition`."""
    kind, given = kind_of(condition), arguments(condition)
    if kind.needs_gradients and not hasattr(model, "loss"):
        control = f", or its random control {condition.twin}" if condition.twin else ""
        box = f"square({given['norm']},{given.get('eps', '1')},reads=letter)"
        raise UserError(
            f"condition {condition.key} needs gradients, and model {model.name} gives none: use a local model, "
            f"the black-box attack {box}{control}"
        )
    if kind.needs_options(given) and not hasattr(model, "option_logprobs"):
        raise UserError(
            f"condition {condition.key} reads option scores, and model {model.name} gives none: add reads=letter"
        )


def _by_name(kind: Kind, condition: Condition) -> dict[str, str]:
    """Arguments by parameter name; those without a key in the order of the parameters."""
    allowed = [parameter.name for parameter in kind.parameters]
    if len(condition.args) > len(allowed):
        raise UserError(
            f"{condition.name} takes {len(allowed)} arguments, not {len(condition.args)}: write {kind.usage}"
        )
    given = dict(zip(allowed, condition.args, strict=False))
    for key, value in condition.kwargs.items():
        if key not in allowed:
            raise UserError(f"{condition.name} has no argument {key!r}: write {kind.usage}")
        if key in given:
            raise UserError(f"{condition.name} has its argument {key!r} twice: write {kind.usage}")
        given[key] = value
    return given
