"""Small data sets in the schema, for tests of the measures."""

from datasets import Dataset, Features, Value

from amif.training.evaluation.prediction_rows import Prediction

COLUMNS = ("question_id", "image_id", "question", "answer", "answer_type", "question_type")


def table(*rows):
    values = [list(column) for column in zip(*rows, strict=True)]
    features = Features({name: Value("string") for name in COLUMNS})
    return Dataset.from_dict(dict(zip(COLUMNS, values, strict=True)), features=features)


def prediction(question_id="1", image_id="a", *, answer=None, prediction=None, score=None, correct=None, **further):
    """One prediction, of which a test says what matters to it."""
    return Prediction(question_id, image_id, "?", answer, None, None, prediction, score, correct, None, further)


def answers(correct, questions_an_image=2):
    """Predictions of one system, of which it is known which are right."""
    return [prediction(f"q{i}", f"i{i // questions_an_image}", correct=bool(right)) for i, right in enumerate(correct)]
