"""Who gets whose image under `shuffled`. No torch."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from medproof.records import Item
from medproof.seeds import derive_seed

_Level = Callable[[Item], tuple[str, ...]]


def _stem(item: Item) -> tuple[str, ...]:
    return (item.modality, " ".join(item.question.casefold().split()))


_LEVELS: tuple[_Level, ...] = (_stem, lambda item: (item.modality, item.question_type), lambda item: (item.modality,))


class Donors:
    """A derangement of images within modality and question stem.

    The items of a stem stand in a ring: patients in an order drawn from the seed, all items of a patient together.
    Each item takes the image of the item opposite. Where no patient has more than half of the ring this is a
    permutation, in which everyone has an image of another patient. Where that fails, an item walks on around the ring
    to the next image of another patient, else to the next other image; then the same in wider rings, of modality and
    question type, and of modality. An item never gets its own image.

    Depends on the seed and the set of items alone, not on their order.
    """

    def __init__(self, items: Iterable[Item], seed: int) -> None:
        self._seed = seed
        self._rings: list[dict[tuple[str, ...], list[Item]]] = []
        self._places: list[dict[str, int]] = []
        ordered = sorted(items, key=self._order)
        for level in _LEVELS:
            rings: defaultdict[tuple[str, ...], list[Item]] = defaultdict(list)
            places: dict[str, int] = {}
            for item in ordered:
                ring = rings[level(item)]
                places[item.id] = len(ring)
                ring.append(item)
            self._rings.append(dict(rings))
            self._places.append(places)

    def of(self, item: Item) -> Iterator[Item]:
        """Items whose image may stand in for `item`'s, best first; lazily, each image once or more."""
        for level, rings, places in zip(_LEVELS, self._rings, self._places):
            if item.id not in places:
                continue
            ring, place = rings[level(item)], places[item.id]
            opposite = place + len(ring) // 2
            for same_patient in (False, True):
                for step in range(len(ring)):
                    other = ring[(opposite + step) % len(ring)]
                    if image_of(other) != image_of(item) and (other.cluster == item.cluster) == same_patient:
                        yield other

    def _order(self, item: Item) -> tuple[int, int, str]:
        return (
            derive_seed(self._seed, item.cluster, "shuffled patient"),
            derive_seed(self._seed, repr(image_of(item)), "shuffled image"),
            item.id,
        )


def image_of(item: Item) -> tuple[str, int | None, str | None]:
    """What makes two items show the same picture: file, frame and window."""
    return item.image, item.frame, item.window
