"""The README.md of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from .evaluation.table import format_table

TEMPLATE = """---
{{ card_data }}
---

# AMiF for medical visual question answering

{{ encoders }}

```python
import amif
from PIL import Image
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{{ path }}").eval()
processor = AutoProcessor.from_pretrained("{{ path }}")
inputs = processor(images=Image.open("image.png"), text="is there a mass?")
best = model.rank_answers(**inputs, answers=processor.encode_answers())
print(processor.answers[best.indices[0, 0]])
```

## Results

```
{{ table }}
```

## Intended use and limits

For research. Not a medical device, not for diagnosis. It answers every question, also those that the image cannot
answer, and its answers come from a fixed list unless they are generated freely.
"""


def write_model_card(
    folder: str | Path, metrics: Mapping[str, Any], vision_model: str | None, text_model: str | None
) -> None:
    """Write README.md with metadata that the Hub reads, how to use the checkpoint, its results and its limits.

    Args:
        folder: the checkpoint's folder.
        metrics: the content of metrics.json.
        vision_model: name of the image encoder that training started from, None for a new one.
        text_model: the same of the text encoder.
    """
    names = [Path(name).name for name in (vision_model, text_model) if name is not None]
    encoders = f"Started from {' and '.join(names)}." if names else "Trained from random initialisation."
    data = ModelCardData(
        library_name="transformers", pipeline_tag="visual-question-answering", tags=["medical", "amif"], language="en"
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        encoders=encoders,
        path=Path(folder).name,
        table=format_table(metrics),
    )
    card.save(Path(folder) / "README.md")
