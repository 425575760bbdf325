"""Answers of one seed, for tests of what is told over seeds."""

from collections.abc import Sequence

from amif.training.evaluation.prediction_rows import Prediction


def answers(correct: Sequence[bool | int], questions_an_image: int = 2) -> list[Prediction]:
    """One a question."""
    return [
        Prediction(
            question_id=f"q{i}",
            image_id=f"i{i // questions_an_image}",
            question="is it?",
            answer="yes",
            answer_type=None,
            question_type=None,
            prediction="yes" if right else "no",
            score=None,
            correct=bool(right),
            yes_no=True,
        )
        for i, right in enumerate(correct)
    ]
