import json

import pytest
from PIL import Image as Images

from amif.training.data.readers import omni_med_vqa
from amif.training.data.readers.omni_med_vqa import load_omni_med_vqa


def question(number, dataset="ACRIMA", **changes):
    return {
        "dataset": dataset,
        "question_id": f"{dataset}_{number:04}",
        "question_type": "Modality Recognition",
        "question": "What is the imaging technique?",
        "gt_answer": "Fundus photography",
        "image_path": f"Images/{dataset}/{number}.png",
        "option_A": "CT",
        "option_B": "Fundus photography.",
        "modality_type": "Fundus Photography",
    } | changes


def write_copy(folder, **files):
    for name, rows in files.items():
        file = folder / "QA_information" / "Open-access" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows))
        for row in rows:
            (folder / row["image_path"]).parent.mkdir(parents=True, exist_ok=True)
            Images.new("L", (4, 4), 5).save(folder / row["image_path"])
    return folder


@pytest.fixture
def files():
    odd = question(1, "Chest", option_C="MR", option_D="US", gt_answer="MR")
    odd["modality"] = odd.pop("modality_type")
    return {"ACRIMA": [question(1), question(2)], "Chest CT Scan": [odd]}


def test_all_open_files_are_one_test(tmp_path, files, monkeypatch):
    said = []
    monkeypatch.setattr(omni_med_vqa.logger, "warning", said.append)
    write_copy(tmp_path / "OmniMedVQA", **files)
    closed = tmp_path / "OmniMedVQA" / "QA_information" / "Restricted-access"
    closed.mkdir()
    (closed / "Secret.json").write_text("[]")
    splits = load_omni_med_vqa(tmp_path)
    assert list(splits) == ["test"]
    rows = splits["test"]
    assert rows["question_id"][:] == ["ACRIMA_0001", "ACRIMA_0002", "Chest_0001"]
    assert rows["choices"][:] == [["CT", "Fundus photography."]] * 2 + [["CT", "Fundus photography.", "MR", "US"]]
    assert rows["answer"][:] == ["Fundus photography"] * 2 + ["MR"]
    assert set(rows["modality"]) == {"Fundus Photography"}
    assert rows["image_id"][2] == "Images/Chest/1.png"
    assert rows[0]["image"].size == (4, 4)
    assert said == ["omni_med_vqa: 1 files of Restricted-access are not read."]


def test_an_id_is_one_question_over_all_files(tmp_path, files):
    files["Chest CT Scan"][0]["question_id"] = "ACRIMA_0002"
    with pytest.raises(ValueError, match=r"Chest CT Scan\.json: row 0 .*'ACRIMA_0002' is also that of row 1 of"):
        load_omni_med_vqa(write_copy(tmp_path, **files))


def test_an_answer_that_is_no_option_is_a_bad_row(tmp_path, files):
    files["ACRIMA"][1]["gt_answer"] = "OCT"
    with pytest.raises(ValueError, match=r"ACRIMA\.json: row 1 .*'OCT' is none of the choices"):
        load_omni_med_vqa(write_copy(tmp_path, **files))
    assert len(load_omni_med_vqa(tmp_path, on_bad_row="skip")["test"]) == 2


def test_counts(tmp_path, files):
    with pytest.raises(ValueError, match="omni_med_vqa test: 3 rows, published 88996"):
        load_omni_med_vqa(write_copy(tmp_path, **files), strict=True)
