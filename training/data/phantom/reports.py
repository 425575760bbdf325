"""A study's report, with the stock phrases that make near-duplicates."""

import numpy as np

from .studies import Study, pick

TECHNIQUES = (
    "{plane} {modality} of the {organ}.",
    "{modality} of the {organ}, {plane} plane.",
    "technique: {plane} {modality}, {organ}.",
)

STOCK_SENTENCES = {
    "chest": (
        "the heart is of normal size.",
        "the mediastinum is not widened.",
        "the bony thorax is intact.",
        "the vessels of the lungs are unremarkable.",
    ),
    "brain": (
        "the midline is not shifted.",
        "the bones of the skull are intact.",
        "the ventricles are of normal width.",
        "the cranial cavity is of normal shape.",
    ),
    "abdomen": (
        "the bowel is not dilated.",
        "the spine is unremarkable.",
        "the liver is of normal size.",
        "the outlines of the kidneys are regular.",
    ),
}

NORMAL_IMPRESSIONS = (
    "impression: no acute abnormality.",
    "impression: normal study.",
    "impression: no abnormality is seen.",
)

FINDING_SENTENCES = (
    "{size} {finding} {where}.",
    "{size} {finding} is seen {where}.",
    "there is evidence of {size} {finding} {where}.",
)


def write_report(study: Study) -> str:
    """Return a report of stock sentences; two normal studies' reports often differ in a word, or in none."""
    rng = np.random.default_rng([*study.key, 9])
    technique, stock = pick(TECHNIQUES, rng), pick(STOCK_SENTENCES[study.organ], rng)
    if study.finding is None:
        sentences = [technique, stock, pick(NORMAL_IMPRESSIONS, rng)]
    else:
        sentences = [technique, pick(FINDING_SENTENCES, rng), stock, "impression: {size} {finding} {where}."]
    words = {**vars(study), "where": f"on the {study.side}" if study.side else f"in the {study.organ}"}
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in (s.format(**words) for s in sentences))
