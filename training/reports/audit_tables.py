"""What an audit found, as tables for the console."""

from ..evaluation.audit import Audit, Shared, SharedImages, SplitFacts
from .tables import Table, interval_cells


def audit_table(audit: Audit, name: str) -> Table:
    """What is found within one data set, called `name`."""
    rows = [
        *_shared_rows(audit.shared_images),
        *_rows_by_splits("repeated pairs", audit.repeated_pairs),
        *_rows_by_splits("repeated pairs normalized", audit.repeated_pairs_normalized),
        ("conflicting answers", str(audit.conflicting_answers.count)),
    ]
    unseen = audit.unseen_answers
    if unseen is not None:
        rows.append((f"unseen answers of {unseen.answered} evaluated", str(unseen.count)))
        rows.append(("ceiling of training answers in %", f"{unseen.ceiling:.2f}"))
    if audit.question_only is not None:
        _, accuracy, interval, _ = interval_cells("", audit.question_only)
        rows.append(("question only, learnt from training, in %", f"{accuracy} ({interval})"))
    for split, facts in audit.splits.items():
        rows += _split_rows(split, facts)
    return Table(f"Audit of {name}, evaluated on {audit.evaluated_split}", ("", "found"), rows)


def pair_table(pair: SharedImages, name: str, other: str) -> Table:
    """What two data sets, called `name` and `other`, share."""
    return Table(f"What {name} shares with {other}", ("", "found"), _shared_rows(pair))


def _split_rows(split: str, facts: SplitFacts) -> list[tuple[str, str]]:
    balance, ceiling = facts.class_balance, facts.question_only_ceiling
    rows = [(f"{split}: questions, images, with answer", f"{facts.questions}, {facts.images}, {facts.answered}")]
    if ceiling is not None:
        answer, count = next(iter(balance.most_frequent.items()))
        rows += [
            (f"{split}: distinct answers, yes, no", f"{balance.distinct}, {balance.yes}, {balance.no}"),
            (f"{split}: most frequent answer", f"{answer} ({100 * count / facts.answered:.1f} %)"),
            (f"{split}: ceiling of the question alone in %", f"{ceiling:.2f}"),
        ]
    return rows


def _shared_rows(images: SharedImages) -> list[tuple[str, str]]:
    return [
        *_rows_by_splits("images shared by id", images.shared_images_by_id),
        *_rows_by_splits("images with identical pixels", images.shared_images_identical),
        *_rows_by_splits("images with near-duplicates", images.shared_images_near),
    ]


def _rows_by_splits(label: str, shared: Shared) -> list[tuple[str, str]]:
    return [(f"{label}, {splits}", str(found.count)) for splits, found in shared.by_splits.items()]
