from .datasets import load_phantom_pretraining, load_phantom_vqa, phantom_vqa_sentences
from .questions import FINDING_NAMES
from .studies import VISIBLE

__all__ = ["FINDING_NAMES", "VISIBLE", "load_phantom_pretraining", "load_phantom_vqa", "phantom_vqa_sentences"]
