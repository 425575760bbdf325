import math

import numpy as np
import pytest
from datasets import concatenate_datasets
from small_evaluations import table

from amif.training.data.image_overlap import ImagePrints
from amif.training.data.readers.slake import load_slake
from amif.training.data.readers.vqa_rad import load_vqa_rad
from amif.training.data.references import acceptable_vqa_med_answers, normal_form
from amif.training.evaluation.audit import (
    Conflict,
    SharedItems,
    UnseenAnswers,
    audit_pair,
    audit_splits,
    class_balance,
    conflicting_answers,
    question_only_ceiling,
    repeated_pairs,
    shared_images,
    unseen_answers,
)


def prints(**pixels):
    """Prints of images without structure: they are the same only by id or pixels."""
    hashes = np.random.default_rng(0).integers(2**63, size=len(pixels), dtype=np.uint64)
    return ImagePrints(list(pixels), list(pixels.values()), hashes, np.zeros((len(pixels), 4096), dtype=np.float32))


def ids_of(dataset):
    return prints(**dict.fromkeys(sorted(set(dataset["image_id"])), ""))


def rows(*triples):
    return table(
        *((f"q{row}", image, question, answer, None, None) for row, (image, question, answer) in enumerate(triples))
    )


TRAIN = rows(
    ("a", "Is there a mass?", "yes"),
    ("a", "is there a mass", "no"),
    ("b", "Which organ?", "liver"),
    ("c", "Which organ?", "Liver."),
    ("c", "Where?", "left#left lung"),
    ("c", "where", "left lung"),
)
TEST = rows(("a", "Is there a mass?", "yes"), ("c", "which organ", "spleen"), ("d", "Is there a mass?", "no"))


def test_audit_of_a_small_set():
    splits = {"test": TEST, "train": TRAIN}
    images = {"train": prints(a="1", b="2", c="3"), "test": prints(a="1", c="9", d="2")}
    audit = audit_splits(splits, images, acceptable_vqa_med_answers)
    images = audit.shared_images
    found = (images.shared_images_by_id, images.shared_images_identical, images.shared_images_near)
    assert audit.evaluated_split == "test"
    assert [shared.count for shared in (*found, audit.repeated_pairs)] == [2, 2, 0, 1]
    assert images.shared_images_by_id.by_splits == {"train/test": SharedItems(2, ["a", "c"])}
    assert images.shared_images_identical.by_splits["train/test"].items == {"a": ["a"], "d": ["b"]}
    assert audit.repeated_pairs.by_splits["train/test"].items == ["q0"]
    assert audit.repeated_pairs_normalized.by_splits["train/test"].items == ["q0", "q1"]
    assert audit.unseen_answers == UnseenAnswers(1, 3, pytest.approx(200 / 3), ["spleen"])
    assert audit.question_only.value == pytest.approx(100 / 3)
    assert audit.splits["train"].questions == 6
    assert audit.splits["train"].images == 3
    keys = ["shared_images_by_id", "shared_images_identical", "shared_images_near", "repeated_pairs"]
    assert list(audit.json_fields())[2:6] == keys


def test_conflicts_are_answers_of_which_none_satisfies_all():
    conflicts = conflicting_answers({"train": TRAIN, "test": TEST}, acceptable_vqa_med_answers)
    # On image c "left" and "left lung" are alternatives that agree, by VQA-Med-2019's rule; liver and spleen do not.
    assert conflicts.items == [
        Conflict("a", "is there a mass", ["no", "yes"]),
        Conflict("c", "which organ", ["liver", "spleen"]),
    ]
    assert conflicts.count == 2


def test_question_only_ceiling_is_the_best_constant_answer_of_each_question():
    # "is there a mass" yes/no: 1 of 2; "which organ": 2 of 2; "where": 2 of 2
    assert question_only_ceiling(TRAIN, acceptable_vqa_med_answers) == pytest.approx(500 / 6)
    assert question_only_ceiling(rows(("a", "?!", None))) is None


def test_class_balance():
    balance = class_balance(TRAIN, acceptable_vqa_med_answers)
    assert balance.most_frequent == {"liver": 2, "left": 1, "left lung": 1, "no": 1, "yes": 1}
    assert (balance.distinct, balance.yes, balance.no) == (5, 1, 1)
    entropy = -(2 / 6 * math.log(2 / 6) + 4 * (1 / 6) * math.log(1 / 6))
    assert balance.evenness == pytest.approx(entropy / math.log(5))
    assert class_balance(rows(("a", "?", "yes"), ("b", "?", "no"))).evenness == pytest.approx(1.0)
    assert class_balance(rows(("a", "?", None))).evenness is None


def test_answers_that_nobody_knows_have_no_ceiling():
    assert unseen_answers(TRAIN, rows(("a", "?", None))) is None


def test_what_the_evaluated_split_shares_with_splits_of_other_names_counts():
    found = shared_images({"testmini": prints(a="1"), "test": prints(a="1"), "train": prints(b="1")}, "test")
    assert list(found.shared_images_by_id.by_splits) == ["train/testmini", "train/test", "testmini/test"]
    assert found.shared_images_by_id.by_splits["testmini/test"].items == ["a"]
    assert found.shared_images_by_id.count == 1


def test_pair_of_sets_names_both():
    audit = audit_pair(
        {"train": prints(a="1", b="2"), "validation": prints(c="3")},
        {"train": prints(b="7"), "test": prints(c="3", d="4")},
        ("med", "rad"),
    )
    counts = {name: found.count for name, found in audit.shared_images_by_id.by_splits.items()}
    assert counts == {
        "med train/rad train": 1,
        "med train/rad test": 0,
        "med validation/rad train": 0,
        "med validation/rad test": 1,
    }
    assert audit.shared_images_by_id.count == audit.shared_images_identical.count == 1


def test_vqa_rad_shares_all_its_test_images_and_repeats_questions(data_dir):
    splits = load_vqa_rad(data_dir / "vqa_rad")
    audit = audit_splits(splits, {name: ids_of(split) for name, split in splits.items()})
    assert audit.shared_images.shared_images_by_id.count == 203
    assert audit.repeated_pairs.count == 14
    assert audit.repeated_pairs_normalized.count == 16
    naive = {(row["image_id"], row["question"]) for row in splits["train"].remove_columns("image")}
    test = splits["test"].remove_columns("image")
    assert audit.repeated_pairs.by_splits["train/test"].items == [
        row["question_id"] for row in test if (row["image_id"], row["question"]) in naive
    ]


def test_slake_shares_no_image_in_english_and_142_in_both_languages(data_dir):
    english, chinese = (load_slake(data_dir / "slake", language=language) for language in ("en", "zh"))
    for splits, shared in (
        (english, 0),
        ({name: concatenate_datasets([english[name], chinese[name]]) for name in english}, 142),
    ):
        audit = shared_images({name: ids_of(split) for name, split in splits.items()}, "test")
        assert audit.shared_images_by_id.by_splits["train/test"].count == shared
    assert repeated_pairs(english["train"], english["test"], normal_form) == []
