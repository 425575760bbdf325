from huggingface_hub import ModelCard

from amif.training.model_card import write_model_card

METRICS = {
    "dataset": "slake",
    "split": "test",
    "n": 4,
    "unscored": 1,
    "protocol": "paper",
    "protocol_note": "The candidates are the test answers.",
    "overall": {"accuracy": 66.67, "ci95": [30.0, 90.0], "n": 3},
    "by_answer_type": {},
    "by_yes_no": {},
    "by_question_type": {},
    "baselines": {},
    "fingerprint": {"command": "run_vqa.py --protocol paper"},
}


def test_card_says_what_was_measured_how_and_on_what(tmp_path):
    folder = tmp_path / "amif-slake"
    folder.mkdir()
    write_model_card(folder, METRICS, "models/dinov2-small", "models/minilm-l6")
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "visual-question-answering"
    for said in (
        'from_pretrained("amif-slake")',
        "Started from dinov2-small and minilm-l6.",
        "66.67",
        "30.00 - 90.00",
        "Protocol paper: The candidates are the test answers.",
        "run_vqa.py --protocol paper",
        "not for diagnosis",
    ):
        assert said in card.content, said
    assert str(tmp_path) not in card.content


def test_card_of_a_new_model(tmp_path):
    write_model_card(tmp_path, METRICS, None, None)
    assert "Trained from random initialisation." in (tmp_path / "README.md").read_text()
