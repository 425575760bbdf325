from .datasets import load_phantom_pretraining, load_phantom_vqa, phantom_vqa_sentences
from .questions import FINDING_NAMES

__all__ = ["FINDING_NAMES", "load_phantom_pretraining", "load_phantom_vqa", "phantom_vqa_sentences"]
