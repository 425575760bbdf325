"""What answering a validation split costs a small model that has learned nothing, about its images and blank ones.

    pytest -m slow -n 0 -s tests/benchmarks/test_answering_time.py

Beside the seconds stands how many questions are asked: those that are equal, about equal images, are asked once.
"""

import time

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, ViTConfig, ViTImageProcessor

from amif import AmifConfig, AmifForVisualQuestionAnswering, AmifProcessor, AmifVqaArguments, AmifVqaTrainer
from amif.training.data import load_vqa_dataset, replace_images
from amif.training.data.same_images import shared_image_ids
from amif.training.fine_tuning.answering import first_that_ask_the_same

pytestmark = pytest.mark.slow

CANDIDATES = 20
WIDTH = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}


def small_config(vocabulary: int) -> AmifConfig:
    """Four layers that read images of 96 pixels, two of each other kind."""
    text, decoder = (BertConfig(vocab_size=vocabulary, num_hidden_layers=2, **WIDTH) for _ in range(2))
    vision = ViTConfig(image_size=96, num_hidden_layers=4, **WIDTH)
    small = {"num_co_attention_layers": 2, "num_attention_heads": 4, "knowledge_fusion": "none"}
    return AmifConfig(vision_config=vision, text_config=text, decoder_config=decoder, **small)


@pytest.mark.parametrize("images", ["real", "blank"])
@pytest.mark.parametrize("name", ["slake", "vqa_rad"])
def test_answering_a_split(tmp_path, data_dir, models_dir, name, images):
    splits = load_vqa_dataset(name, data_dir / name)
    asked = splits["validation"] if images == "real" else replace_images(splits["validation"], images)
    tokenizer = AutoTokenizer.from_pretrained(models_dir / "minilm-l6")
    processor = AmifProcessor(ViTImageProcessor(size={"height": 96, "width": 96}), tokenizer)
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(small_config(len(tokenizer)))
    options = {"use_cpu": True, "disable_tqdm": True, "eval_strategy": "no", "load_best_model_at_end": False}
    args = AmifVqaArguments(str(tmp_path), save_strategy="no", per_device_eval_batch_size=32, **options)
    candidates = sorted({answer for answer in splits["train"]["answer"] if answer})[:CANDIDATES]
    trainer = AmifVqaTrainer(model, args, splits["train"], None, processor, candidates)
    started = time.process_time()
    answers, _ = trainer.predict_answers(asked)
    seconds = time.process_time() - started
    image_ids = shared_image_ids(asked)
    different = len(set(first_that_ask_the_same(asked, image_ids)))
    print(
        f"\n{name}, {images} images: {len(answers)} questions, {different} asked about {len(set(image_ids))} images, "
        f"{seconds:.1f} s of CPU"
    )
    assert len(answers) == len(asked)
