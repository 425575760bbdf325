"""A small processor, data set and trainer that the tests of training share."""

from pathlib import Path

from datasets import Dataset
from PIL import Image
from small_models import VOCABULARY, small_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, ViTImageProcessor

from amif import AmifForVisualQuestionAnswering, AmifProcessor, AmifVqaArguments, AmifVqaTrainer
from amif.training.data.schema import build_vqa_dataset

WORDS = ["what", "colour", "is", "it", "dark", "bright", "grey", "yes", "no", "the", "image"]
CANDIDATES = ["dark", "grey", "bright", "yes", "no"]


def build_processor() -> AmifProcessor:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 101, "[SEP]": 102} | {word: 3 + i for i, word in enumerate(WORDS)}
    vocabulary |= {f"[unused{i}]": i for i in range(VOCABULARY) if i not in vocabulary.values()}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    return AmifProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), fast)


def build_data(folder: Path) -> Dataset:
    """Two questions about each of 12 dark, grey or bright images; only the image tells the answers."""
    rows = []
    for i in range(12):
        name, level = ("dark", "grey", "bright")[i % 3], (20, 128, 235)[i % 3]
        path = folder / f"{i}.png"
        Image.new("L", (40, 32), level + i % 4).save(path)
        for question, answer in (("what is it", name), ("is it dark", "yes" if name == "dark" else "no")):
            rows.append({"image": str(path), "question": question, "answer": answer, "image_id": str(i)})
            rows[-1]["question_id"] = f"{i} {question}"
    return build_vqa_dataset(rows)


def trainer(
    output_dir: Path,
    processor: AmifProcessor,
    data: Dataset,
    model: AmifForVisualQuestionAnswering | None = None,
    **arguments: object,
) -> AmifVqaTrainer:
    """A trainer that by default neither evaluates nor saves; three steps an epoch of `build_data`."""
    options = {"output_dir": str(output_dir), "save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True}
    options |= {"load_best_model_at_end": False, "use_cpu": True, "per_device_train_batch_size": 8}
    args = AmifVqaArguments(**(options | arguments))
    return AmifVqaTrainer(model or small_model(), args, data, data, processor, CANDIDATES)
