from huggingface_hub import ModelCard
from small_evaluations import table

from amif.training.evaluation import build_metrics, evaluation_fingerprint, prediction_rows
from amif.training.model_card import write_model_card

ROWS = prediction_rows(
    table(
        *((str(row), str(row), "Is it?", answer, None, None) for row, answer in enumerate(["yes", "no", "yes", None]))
    ),
    ["yes", "no", "no", "no"],
)
METRICS = build_metrics(
    ROWS,
    protocol="paper",
    dataset_name="slake",
    split="test",
    baselines={},
    fingerprint=evaluation_fingerprint(ROWS, protocol="paper", seed=1, command="run_vqa.py --protocol paper"),
)


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
        f"{METRICS['overall']['ci95'][0]:.2f} - 100.00",
        f"Protocol paper: {METRICS['protocol_note']}",
        "run_vqa.py --protocol paper",
        "not for diagnosis",
    ):
        assert said in card.content, said
    assert str(tmp_path) not in card.content


def test_card_of_a_new_model(tmp_path):
    write_model_card(tmp_path, METRICS, None, None)
    assert "Trained from random initialisation." in (tmp_path / "README.md").read_text()
