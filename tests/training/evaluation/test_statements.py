import pytest

from amif.training.evaluation.statements import asks_yes_or_no, fragments, names_alternatives, said_yes_or_no


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Is there a fracture?", True),
        ("In this image, does the liver look normal?", True),
        ("Is the lesion on the left or the right?", False),
        ("Is there edema or effusion?", True),
        ("Which side is affected?", False),
        ("In which plane was it taken?", False),
        ("Evidence of a fracture?", None),
    ],
)
def test_the_words_of_a_question_tell_what_answers_it(question, asks):
    assert asks_yes_or_no(question) is asks
    assert names_alternatives(question) is (question == "Is the lesion on the left or the right?")


def test_a_denial_ends_where_the_sentence_turns():
    parts = fragments("No effusion, edema, or mass, but there is a fracture, not displaced.")
    assert [part.negates(len(part.words) - 1, len(part.words)) for part in parts] == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("about", "denial", "question"),
    [
        ("an effusion", "no effusion", "Is there an effusion?"),
        ("an abnormality", "no abnormality", "Is there any abnormality?"),
        (
            "a fracture of the left rib",
            "no fracture of the left rib",
            "Does it show a fracture of the left rib?",
        ),
    ],
)
def test_a_statement_and_its_denial_answer_opposite(about, denial, question):
    for frame in ("There is {}.", "The image shows {}.", "In this image, {} is seen.", "I can see {} here."):
        assert said_yes_or_no(frame.format(about), question) == "yes"
        assert said_yes_or_no(frame.format(denial), question) == "no"
        both = f"{frame.format(about)} {frame.format(denial)}"
        assert said_yes_or_no(both, question) is None, "it contradicts itself"
        assert said_yes_or_no(f"It is unclear whether {about} is present.", question) is None
    opposite = "yes" if denial == "no abnormality" else None
    assert said_yes_or_no(f"There is {denial}.", "Is the image normal?") == opposite
