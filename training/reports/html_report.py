"""A result as one HTML page that opens without a network: tables, plots, protocol and fingerprint."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from ..evaluation.confidence import confidences_and_verdicts
from ..evaluation.grouped_accuracy import Scores
from ..evaluation.metrics import Metrics
from ..evaluation.prediction_rows import Prediction
from ..evaluation.result_files import replace_file
from .plots import accuracy_plot, calibration_plot, risk_coverage_plot
from .tables import Table

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
  .headline { font-size: 2.2rem; font-weight: 600; }
  .headline small { font-size: 1rem; font-weight: 400; color: #5b6472; }
  .protocol { border-left: 4px solid #2563a8; padding: .4rem .9rem; background: #f1f5fa; }
  .table { overflow-x: auto; } table { border-collapse: collapse; }
  th, td { padding: .22rem .8rem; border-bottom: 1px solid #e3e5e8; text-align: right; white-space: nowrap; }
  th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #8a8f98; }
  tr.ours td { background: #f1f5fa; font-weight: 600; }
  .plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 0 1 485px; min-width: 0; }
  figure svg { width: 100%; height: auto; } figcaption, .notes { color: #5b6472; font-size: .88rem; }
  .notes { overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if overall %}<p class="headline">{{ "%.2f %%"|format(overall.value) }}
<small>({{ "%.2f – %.2f"|format(*overall.ci95) }}, {{ overall.n }} questions)</small></p>
{% else %}<p class="headline">not scored</p>
{% endif %}<p class="protocol"><strong>Protocol {{ metrics.protocol }}.</strong> {{ metrics.protocol_note }}</p>
{% if plots %}<h2>Plots</h2>
<div class="plots">{% for caption, svg in plots %}
<figure>{{ svg|safe }}<figcaption>{{ caption }}</figcaption></figure>{% endfor %}
</div>{% endif %}
{% for table in tables %}<h2>{{ table.title }}</h2>
<div class="table"><table>
<thead><tr>{% for name in table.header %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in table.rows %}
<tr{% if row[0] == "this result" %} class="ours"{% endif %}>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{% for note in table.notes if note != metrics.protocol_line %}<p class="notes">{{ note }}</p>{% endfor %}
{% endfor %}
</body>
</html>
"""


def write_html_report(path: str | Path, rows: Sequence[Prediction], metrics: Metrics, tables: Sequence[Table]) -> None:
    """Write the page: the overall accuracy, the protocol, plots, and the tables with their notes.

    Args:
        path: The file to write.
        rows: The answers; risk-coverage and calibration are drawn where they have scores.
        metrics: Of the answers.
        tables: In the order in which they shall stand.

    Raises:
        OSError: As `replace_file`.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(_PAGE).render(
        title=f"{metrics.dataset}, {metrics.split}",
        overall=metrics.scores.overall,
        metrics=metrics,
        plots=_plots(rows, metrics.scores),
        tables=tables,
    )
    replace_file(path, page)


def _plots(rows: Sequence[Prediction], scores: Scores) -> list[tuple[str, str]]:
    """Captions and SVG of what there is to draw."""
    if scores.overall is None:
        return []
    groups = {
        "overall": scores.overall,
        **scores.by_dataset,
        **{f"{name} (answer_type)": result for name, result in scores.by_answer_type.items()},
        **{f"{name} (yes/no)": result for name, result in scores.by_yes_no.items()},
        **scores.by_question_type,
    }
    plots = []
    confidences, correct = confidences_and_verdicts(rows)
    if len(confidences):
        plots = [
            ("What is wrong when only the most confident answers count.", risk_coverage_plot(confidences, correct)),
            ("Calibration: does confidence say how often an answer is right?", calibration_plot(confidences, correct)),
        ]
    return [*plots, ("Accuracy by type of question; bootstrap intervals over images.", accuracy_plot(groups))]
