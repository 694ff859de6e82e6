"""Put the parts of an audit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medproof.datasets.audit.cues import (
    chance_of,
    full_stop,
    letter_prior,
    longest_option,
    never_correct,
    text_prior,
)
from medproof.datasets.audit.findings import findings
from medproof.datasets.audit.model import AuditReport
from medproof.datasets.audit.overlap import PathOf, Progress, image_overlap
from medproof.datasets.audit.splits import balance, patient_overlap, source_shortcut
from medproof.datasets.dataset import Dataset, sample_items
from medproof.errors import UserError
from medproof.records import Item


def audit(
    test: Sequence[Item],
    train: Sequence[Item] | None = None,
    *,
    name: str = "",
    train_name: str | None = None,
    test_path: PathOf | None = None,
    train_path: PathOf | None = None,
    quarantined: int = 0,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit `test`, with everything that is fitted fitted on `train` alone.

    Image files are read only where `test_path` and `train_path` are given. Raises UserError when `test` is empty.
    """
    if not test:
        raise UserError("there is nothing to audit: the test split holds no items")
    train = train or ()
    report = AuditReport(
        dataset=name,
        train_dataset=train_name,
        n_test=len(test),
        n_train=len(train),
        chance=chance_of(test) or 0.0,
        modalities=dict(sorted(Counter(item.modality for item in test).items())),
        text_prior=text_prior(test, train),
        text_prior_pooled=text_prior(test, train, pooled=True),
        letter_prior=letter_prior(test, train),
        longest_option=longest_option(test),
        full_stop=full_stop(test),
        never_correct=never_correct(test, train),
        images=image_overlap(test, train, test_path, train_path, progress),
        patients=patient_overlap(test, train),
        source=source_shortcut(test, train),
        balance=balance(test),
        quarantined=quarantined,
    )
    return report.model_copy(update={"findings": findings(report)})


def audit_dataset(
    data: Dataset,
    train: Dataset | None = None,
    *,
    images: bool = True,
    limit: int | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit a loaded data set. Without `train`, its own training split is used, where it has one.

    `images=False` compares images by path only; `limit` bounds the test items, never the training items.
    """
    test_items = [item for item in data.items if item.split == "test"] or list(data.items)
    if train is not None:
        train_data = train
        train_items = [item for item in train.items if item.split == "train"] or list(train.items)
    else:
        train_data = data
        # A data set that is all training items is audited as the test side: nothing is left to fit on.
        all_train = all(item.split == "train" for item in data.items)
        train_items = [] if all_train else [item for item in data.items if item.split == "train"]
    if limit is not None:
        test_items = sample_items(test_items, limit, data.seed)
    return audit(
        test_items,
        train_items,
        name=data.name,
        train_name=train_data.name if train_items else None,
        test_path=data.image_path if images else None,
        train_path=train_data.image_path if images else None,
        quarantined=len(data.quarantined),
        progress=progress,
    )
