"""A dictionary that cannot be written to, so that frozen records are frozen all the way down."""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from pydantic import AfterValidator, PlainSerializer

V = TypeVar("V")


class FrozenDict(dict[str, V], Generic[V]):
    """Equal to a plain dict of the same content, hashable, and picklable; every change raises TypeError."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("records are immutable: change a copy, as in record.model_copy(update={...})")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type["FrozenDict[V]"], tuple[dict[str, V]]]:
        return FrozenDict, (dict(self),)


def _freeze(mapping: Mapping[str, V]) -> Mapping[str, V]:
    return FrozenDict(mapping)


FrozenMap = Annotated[Mapping[str, V], AfterValidator(_freeze), PlainSerializer(dict, return_type=dict)]
"""The type of a record's mapping field."""
