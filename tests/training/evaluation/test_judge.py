import json

import numpy as np
import pytest
from small_evaluations import answers

from amif.training.evaluation.bootstrap import bootstrap_ci95
from amif.training.evaluation.judge import mean_judge_score
from amif.training.evaluation.result_files import to_json


def test_the_mean_is_over_questions_and_its_interval_over_images():
    rows = answers([1, 0, 1, 0, 1, 1, None])
    scores = {row.question_id: place / 6 for place, row in enumerate(rows)}
    judged = mean_judge_score(rows[::-1], scores, "gpt")
    assert judged.mean.value == pytest.approx(50)
    assert judged.mean.ci95 == bootstrap_ci95(np.arange(7) / 6, [row.image_id for row in rows])
    written = json.loads(to_json(judged))
    assert (written["column"], written["score"], written["n"]) == ("gpt", pytest.approx(50), 7)
