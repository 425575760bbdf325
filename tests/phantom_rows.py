"""Columns of generated questions."""

from collections import Counter, defaultdict

import datasets


def columns(split: datasets.Dataset, *names: str) -> list[tuple]:
    return list(zip(*(split[name] for name in names), strict=True))


def answers_by(split: datasets.Dataset, name: str) -> dict[str, Counter]:
    counts = defaultdict(Counter)
    for key, answer in columns(split, name, "answer"):
        counts[key][answer] += 1
    return counts


def image_bytes(split: datasets.Dataset) -> list[bytes]:
    return [image["bytes"] for image in split.cast_column("image", datasets.Image(decode=False))["image"]]
