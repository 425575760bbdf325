"""What chat models write, and the answer that the rules take out of it; None where there is none to take."""

import pytest

from amif.training.evaluation.answer_extraction import extract_answer, is_sentence, quantity

CANDIDATES = [
    "yes",
    "no",
    "pneumonia",
    "pleural effusion",
    "effusion",
    "cardiomegaly",
    "left lung",
    "right lung",
    "left",
    "right",
    "left lower lobe",
    "ct",
    "mri",
    "xray",
    "chest",
    "brain",
    "liver",
    "spleen",
    "axial",
    "coronal",
    "2",
    "two",
    "3.4 cm",
    "t2",
    "head and neck",
    "fracture",
    "pneumothorax",
    "lung",
    "right upper lobe",
    "multiple",
    "heart",
    "nodule",
    "mass",
]
SITES = ["Left lung", "Right lung", "Heart", "Spleen"]

REPLIES = [
    ("No, there is no evidence of pneumonia.", "Is there pneumonia?", "no"),
    ("Yes, no abnormality is seen.", "Is the lung normal?", "yes"),
    ("Yes, the image shows a left-sided pleural effusion.", "Is there a pleural effusion?", "yes"),
    ("Yes", "Is there a pleural effusion?", "yes"),
    ("**Yes**, a fracture is visible in the distal radius.", "Is there a fracture?", "yes"),
    ("There is no pneumothorax.", "Is there a pneumothorax?", "no"),
    ("There is no evidence of acute pneumonia in this chest X-ray.", "Is there evidence of pneumonia?", "no"),
    ("The image does show cardiomegaly.", "Does the image show cardiomegaly?", "yes"),
    ("The image does not show any signs of pneumonia.", "Does the image show pneumonia?", "no"),
    ("No abnormality detected.", "Is the chest normal?", "yes"),
    ("No abnormalities are seen in this image.", "Is there an abnormality?", "no"),
    ("No pneumonia is seen.", "Is the lung normal?", None),
    ("The lungs appear normal.", "Are the lungs normal?", "yes"),
    ("The lungs are not normal.", "Are the lungs normal?", "no"),
    ("There is an abnormality in the lungs.", "Are the lungs normal?", "no"),
    ("The heart is enlarged.", "Is the heart enlarged?", "yes"),
    ("The heart is not enlarged.", "Is the heart enlarged?", "no"),
    ("The liver is not enlarged.", "Is the heart enlarged?", None),
    ("The heart size is within normal limits.", "Is the heart enlarged?", None),
    ("There may be a small pleural effusion.", "Is there a pleural effusion?", None),
    ("It cannot be determined from this image whether there is a fracture.", "Is there a fracture?", None),
    ("Yes, but there is no fracture.", "Is there a fracture?", None),
    ("Yes and no.", "Is there a fracture?", None),
    ("No pleural effusion or pneumothorax is seen.", "Is there a pneumothorax?", "no"),
    ("No effusion, consolidation, or pneumothorax.", "Is there a pneumothorax?", "no"),
    ("There is no pericardial effusion.", "Is there a pleural effusion?", None),
    ("There is no pneumonia in the right lung.", "Is there pneumonia in the left lung?", None),
    ("Pneumonia in the left lung is not seen.", "Is there pneumonia in the left lung?", "no"),
    ("A fracture that is not displaced is seen.", "Is there a fracture?", "yes"),
    ("There is cardiomegaly without pleural effusion.", "Is there a pleural effusion?", "no"),
    ("There is cardiomegaly without pleural effusion.", "Is there cardiomegaly?", "yes"),
    ("Based on the image, yes, there is a mass in the liver.", "Is there a mass in the liver?", "yes"),
    (
        "This is a radiograph. The lungs are clear. Therefore, no, there is no pneumonia.",
        "Does this patient have pneumonia?",
        "no",
    ),
    ("The patient does not have pneumonia.", "Does this patient have pneumonia?", "no"),
    ("Nope.", "Is there a mass?", "no"),
    ("Absolutely not.", "Is there a mass?", "no"),
    ("That is correct, the trachea is midline.", "Is the trachea midline?", "yes"),
    ("The trachea isn't midline.", "Is the trachea midline?", "no"),
    ("Final answer: no", "Is there a mass?", "no"),
    ("<think>There might be a mass, yes.</think>No.", "Is there a mass?", "no"),
    ("The costophrenic angles are blunted, suggestive of effusion.", "Is there a pleural effusion?", None),
    ("No, the image is not normal.", "Is this image normal?", "no"),
    ("Yes, there is an abnormality.", "Is the lung normal?", None),
    ("No - the lungs are clear.", "Is there consolidation?", "no"),
    ("The left kidney is visible.", "Is the spleen visible?", None),
    ("The spleen is not visible in this slice.", "Is the spleen visible?", "no"),
    ("No there is no mass", "Is there a mass?", "no"),
    ("As an AI, I cannot give a diagnosis. Yes, there is a fracture.", "Is there a fracture?", "yes"),
    ("This is a CT scan.", "What modality is this?", "ct"),
    ("CT scan.", "What modality is this?", "ct"),
    ("The image was acquired in the axial plane.", "What is the plane of the image?", "axial"),
    ("The abnormality is not in the left but in the right lung.", "Where is the abnormality?", "right lung"),
    ("not left but right", "Which side is affected?", "right"),
    ("The opacity is on the right, not the left.", "Which side is affected?", "right"),
    ("The image shows pneumonia and a pleural effusion.", "What is the abnormality?", None),
    ("The image shows pneumonia without pleural effusion.", "What is the abnormality?", "pneumonia"),
    ("The mass is located in the right upper lobe.", "Where is the mass?", "right upper lobe"),
    ("This appears to be an MRI rather than a CT.", "Is this a CT or an MRI?", "mri"),
    ("It is an MRI.", "Is this a CT or an MRI?", "mri"),
    ("There are two nodules, each 3 cm.", "How many nodules are there?", "2"),
    ("There are 2 nodules.", "How many nodules are there?", "2"),
    ("The mass measures approximately 3.4 cm.", "How large is the mass?", "3.4 cm"),
    ("The mass measures 3 x 4 cm.", "What is the size of the mass?", None),
    ("The answer is pneumonia.", "What is the diagnosis?", "pneumonia"),
    ("pneumonia", "What is the diagnosis?", "pneumonia"),
    ("glioblastoma", "What is the diagnosis?", "glioblastoma"),
    ("I am unable to determine the diagnosis from this image.", "What is the diagnosis?", None),
    ("The region is the head and neck.", "What region is shown?", "head and neck"),
    ("Is the lesion... The lesion is on the left.", "Is the lesion on the left or right?", "left"),
    ("No, it is on the right.", "Is the lesion on the left or right?", "right"),
    ("Yes, both an effusion and edema are present.", "Is there edema or effusion?", "yes"),
    ("Pneumonia is unlikely.", "Is there pneumonia?", None),
    ("Pneumonia is absent.", "Is there pneumonia?", "no"),
    ("The film is negative for fracture.", "Is there a fracture?", "no"),
    ("The lungs are free of consolidation.", "Is there consolidation in the lungs?", "no"),
    ("The answer is yes, since a nodule is visible.", "Can you see a nodule?", "yes"),
    ("I cannot see any nodule in the image.", "Can you see a nodule?", "no"),
    ("I can see a nodule in the right lung.", "Can you see a nodule?", "yes"),
    ("Maybe", "Is there a nodule?", None),
    ("The image shows the liver. There is a mass in it.", "What organ is shown?", None),
    ("In this image, the organ shown is the spleen.", "What organ is shown?", "spleen"),
    ("The scan demonstrates a 2 cm nodule.", "What is the size of the nodule?", "2 cm"),
    ("There are multiple nodules.", "How many nodules are there?", "multiple"),
    ("There are between 2 and 4 nodules.", "How many nodules are there?", None),
    ("There is one nodule.", "How many nodules are there?", "1"),
    ("True.", "Is the heart visible?", "yes"),
    ("Both lungs are clear, and there is no pleural effusion.", "Is there a pleural effusion?", "no"),
    ("It is T2-weighted.", "Which sequence is it?", None),
    ("This image shows the chest on an X-ray.", "What modality was used?", None),
    ("No fracture.", "Is there a fracture?", "no"),
    ("Fracture present.", "Is there a fracture?", "yes"),
    ("Yes, there is possibly a small nodule.", "Is there a nodule?", "yes"),
    ("No, but a nodule cannot be excluded.", "Is there a nodule?", None),
    ("I don't see evidence of a nodule.", "Is there a nodule?", "no"),
    ("The chest is abnormal.", "Is the chest normal?", "no"),
    ("The liver is normal.", "Is there an abnormality in the liver?", "no"),
    ("The spleen is normal.", "Is there an abnormality in the liver?", None),
    ("No abnormality is seen in the spleen.", "Is the liver normal?", None),
    ("The trachea is deviated to the left.", "Is the trachea midline?", None),
    ("The fracture involves the left rib.", "Is there a fracture of the right rib?", None),
    ("There is a fracture of the left rib.", "Is there a fracture of the right rib?", None),
    ("There is a nodule in the left lung. There is no nodule in the right lung.", "Is there a nodule?", "yes"),
    ("Without contrast.", "Was contrast used?", None),
    ("Contrast was not used.", "Was contrast used?", "no"),
    ("Yes, this is a contrast-enhanced CT.", "Was contrast used?", "yes"),
    ("Yes, the heart is not enlarged.", "Is the heart enlarged?", None),
    ("No. The cardiac silhouette is enlarged? It is not enlarged.", "Is the heart enlarged?", "no"),
    ("This is not a CT; it is an MRI.", "What modality is this?", "mri"),
    ("I can't see a fracture.", "Is there a fracture?", "no"),
    ("The spleen isn't visible.", "Is the spleen visible?", "no"),
    ("There's a fracture.", "Is there a fracture?", "yes"),
    ("It's enlarged.", "Is the heart enlarged?", "yes"),
    ("It is an enlarged liver.", "Is the heart enlarged?", None),
    ("It shows a fracture.", "Is there a fracture of the left rib?", None),
    ("I'm sorry, but I can’t help with that.", "What organ is this?", None),
    ("Perhaps a mass, yes.</think>\n\nNo.", "Is there a mass?", "no"),
    ('```json\n{"answer": "liver", "confidence": 0.9}\n```', "What organ is this?", "liver"),
    ("The mass measures about 3,4 cm.", "How large is the mass?", None),
]
OPTIONS = [
    ("B", "Right lung", SITES),
    ("(B)", "Right lung", SITES),
    ("b)", "Right lung", SITES),
    ("B. Right lung", "Right lung", SITES),
    ("B: Right lung", "Right lung", SITES),
    ("The answer is B.", "Right lung", SITES),
    ("The correct answer is (B) Right lung, because the opacity is there.", "Right lung", SITES),
    ("Option B is correct.", "Right lung", SITES),
    ("B: Left lung", None, SITES),
    ("Either A or B.", None, SITES),
    ("The opacity is in the right lung.", "Right lung", SITES),
    ("A large opacity is seen in the right lung.", "Right lung", SITES),
    ("It could be the heart or the spleen.", None, SITES),
    ("right lung", "Right lung", SITES),
    ("E", None, SITES),
    ("The answer is not A but B.", "Right lung", SITES),
    ("Yes, it is.", "Yes", ["Yes", "No"]),
    ("A", "Yes", ["Yes", "No"]),
    ("\\boxed{C}", "Heart", SITES),
    ("C) Heart", "Heart", SITES),
    ("The most likely answer is option D.", "Spleen", SITES),
    ("D - Spleen", "Spleen", SITES),
    ("Spleen (D)", "Spleen", SITES),
    ("Not the heart; the spleen.", "Spleen", SITES),
    ("I think the answer is C: heart.", "Heart", SITES),
    ("B\n\nExplanation: option A would need a mass in the left lung.", "Right lung", SITES),
    ("B. Right lung\n\nThe left lung and the heart are clear.", "Right lung", SITES),
    ("B. The right lung is opaque, the left lung is clear.", "Right lung", SITES),
    ("A. Left lung\nB. Right lung\nC. Heart\nD. Spleen", None, SITES),
    ("Answer: A or B", None, SITES),
    ("Option A is incorrect. Option B is correct.", "Right lung", SITES),
    ("I choose B, for the opacity is there.", "Right lung", SITES),
    ("\\boxed{\\text{C}}", "Heart", SITES),
    ("AA", None, [f"finding {number}" for number in range(30)]),
    ("Z", "finding 25", [f"finding {number}" for number in range(30)]),
]


@pytest.mark.parametrize(("reply", "question", "answer"), REPLIES)
def test_a_reply_gives_the_answer_that_a_reader_would_take(reply, question, answer):
    assert extract_answer(reply, question, CANDIDATES) == answer


@pytest.mark.parametrize(("reply", "answer", "choices"), OPTIONS)
def test_a_reply_takes_an_option_by_letter_or_text(reply, answer, choices):
    assert extract_answer(reply, "Which is it?", CANDIDATES, choices) == answer


def test_only_candidates_are_named_and_the_longest_counts():
    reply = "There is an opacity in the left lower lobe."
    assert extract_answer(reply, "Where is it?", ["lobe", "lower lobe", "left lower lobe"]) == "left lower lobe"
    assert extract_answer(reply, "Where is it?", ["lower lobe", "left"]) is None, "two are named"
    assert extract_answer(reply, "Where is it?", ["upper lobe", "lob"]) is None, "words are whole"
    assert extract_answer("It is in the LEFT  lower lobe!", "Where?", ["left lower lobe"]) == "left lower lobe"


def test_an_answer_as_it_stands_stays_unless_it_is_a_sentence_or_the_question_asks_yes_or_no():
    assert extract_answer("Glioblastoma multiforme.", "What is it?", []) == "glioblastoma multiforme"
    assert extract_answer("This is a glioblastoma.", "What is it?", []) is None
    assert extract_answer("Glioblastoma", "Is it a glioblastoma?", []) is None
    assert extract_answer("...", "What is it?", []) is None
    assert is_sentence("Yes, it is.")
    assert not is_sentence("left upper lobe of the lung")


def test_quantities_are_equal_in_other_units_and_words():
    assert quantity("3.4 cm") == quantity("34mm") == quantity("34 Millimeters")
    assert quantity("two") == quantity("2") != quantity("2 cm")
    assert quantity("5 %") == quantity("5 percent")
    assert quantity("t2") is None
    assert quantity("2 nodules") is None
