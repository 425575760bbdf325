import pytest
from datasets import Dataset, Features, List, Value
from PIL import Image
from small_chat_models import KINDS, save_chat_model

from amif.training.chat_models.loading import load_chat_model
from amif.training.data.schema import VQA_FEATURES

# Question, answer and choices; one image for every two of them.
ASKED = [
    ("is there a mass?", "no", ["yes", "no"]),
    ("what organ is shown in the left lung?", "left lung", ["left lung", "right lung", "no mass"]),
    ("is it axial?", "yes", ["no", "yes"]),
    ("what is shown in the lung? is there a mass in the left lung?", "mass", ["mass", "a", "word", "is", "yes"]),
    ("lung?", "right", ["left", "right"]),
]


@pytest.fixture(scope="session", params=KINDS)
def chat_model_folder(request, tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def chat_model(chat_model_folder):
    return load_chat_model(str(chat_model_folder))


@pytest.fixture(scope="session")
def questions():
    """Rows of the schema with choices, about images of two sizes."""
    colors = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]
    images = [Image.new("RGB", (40 + 10 * place, 40), color) for place, color in enumerate(colors)]
    rows = [
        {
            "image": images[place // 2],
            "question": question,
            "answer": answer,
            "answer_type": None,
            "question_type": None,
            "image_id": str(place // 2),
            "question_id": str(place),
            "choices": choices,
        }
        for place, (question, answer, choices) in enumerate(ASKED)
    ]
    return Dataset.from_list(rows, features=Features({**VQA_FEATURES, "choices": List(Value("string"))}))
