"""Which chat model answers which questions, as the command line says it."""

from dataclasses import dataclass, field

from ..argument_checks import COUNT, SEED, check_bounds, check_choices
from ..data.arguments import VqaDataArguments
from ..data.names import IMAGE_REPLACEMENTS
from .templates import DEFAULT_CHOICES_PROMPT, DEFAULT_PROMPT, check_prompt

PROTOCOLS = ("generate", "choices", "clean", "paper")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class ChatModelArguments(VqaDataArguments):
    """Which model answers which questions, and how.

    Raises:
        ValueError: If a value is not what it may be, or the prompt lacks a field.
    """

    model: str = field(
        kw_only=True,
        metadata={"help": "An image-text-to-text model of transformers: a folder, or a name on the Hub."},
    )
    split: str | None = field(default=None, metadata={"help": "Which split; default: test where it has answers."})
    protocol: str = field(
        default="generate",
        metadata={
            "help": "generate decodes freely; choices shows each question's own options and compares their letters; "
            "clean and paper compare the likelihoods of candidates, the answers of other splits or of this one."
        },
    )
    prompt: str | None = field(
        default=None,
        metadata={
            "help": "What is asked, with {question} and, under choices, {choices} in it; default: the question, then "
            "'Answer with one word or a short phrase.', or '.. with the letter of the right option.'"
        },
    )
    ablate_image: str | None = field(
        default=None,
        metadata={
            "help": "Show blank images, other questions' (shuffle) or others of the same modality and organ "
            "(shuffle_alike)."
        },
    )
    max_new_tokens: int = field(default=32, metadata={"help": "Longest answer that is generated, in tokens."})
    batch_size: int = field(default=8, metadata={"help": "Questions a step."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Answer only the first so many questions."})
    dtype: str | None = field(
        default=None,
        metadata={"help": "float32, bfloat16 or float16; default: the checkpoint's, and float32 on a CPU."},
    )
    device_map: str | None = field(
        default=None, metadata={"help": "auto spreads the model over the GPUs that there are; default: one GPU or CPU."}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that stands beside the weights."})
    seed: int = field(default=0, metadata={"help": "Of shuffled images."})
    output_dir: str = field(
        default="chat-model-answers", metadata={"help": "Folder of predictions.jsonl and metrics.json."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, {"protocol": PROTOCOLS, "ablate_image": IMAGE_REPLACEMENTS, "dtype": DTYPES})
        check_bounds(self, {"max_new_tokens": COUNT, "batch_size": COUNT, "max_eval_samples": COUNT, "seed": SEED})
        check_prompt(self.template, self.protocol == "choices")

    @property
    def template(self) -> str:
        """The prompt, or the default one."""
        return self.prompt or (DEFAULT_CHOICES_PROMPT if self.protocol == "choices" else DEFAULT_PROMPT)
