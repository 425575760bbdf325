"""Time of a pre-training step at the paper's size; weights are random, which changes no amount of work.

The paper-size step of both stages, the share of it that losses take, and what a teacher of BiomedCLIP's shape adds to
it when it is not cached. Ratios are of runs that took turns. Needs some 12 GiB: run it alone.
"""

import time

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer, CLIPVisionConfig, CLIPVisionModel, ViTImageProcessor

from amif import AmifConfig, AmifForPreTraining, AmifPreTrainer, AmifPreTrainingArguments, AmifProcessor
from amif.modeling_amif.pretraining_amif import AmifPreTrainingOutput

pytestmark = pytest.mark.slow

STUDIES, REPORT_TOKENS, ROUNDS = 8, 119, 3


@pytest.fixture(scope="module")
def teacher():
    """ViT-B/16 at 224 pixels and a BERT base, as BiomedCLIP's."""
    vision = CLIPVisionModel(CLIPVisionConfig(image_size=224, patch_size=16, hidden_size=768, num_attention_heads=12))
    return vision.eval(), BertModel(BertConfig()).eval()


@pytest.fixture
def trainer(tmp_path, request):
    torch.manual_seed(0)
    args = AmifPreTrainingArguments(
        output_dir=str(tmp_path),
        stage=request.param,
        bf16=True,
        eval_strategy="no",
        load_best_model_at_end=False,
        report_to="none",
    )
    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    processor = AmifProcessor(ViTImageProcessor(), BertTokenizer(vocab=words))
    trainer = AmifPreTrainer(model=AmifForPreTraining(AmifConfig()), args=args, processing_class=processor)
    trainer.create_optimizer()
    return trainer


def inputs():
    return {
        "pixel_values": torch.rand(2 * STUDIES, 3, 288, 288),
        "input_ids": torch.randint(1_000, 28_000, (STUDIES, REPORT_TOKENS)),
        "attention_mask": torch.ones(STUDIES, REPORT_TOKENS, dtype=torch.long),
        "text_group": torch.arange(STUDIES),
        "teacher_image_embeds": torch.randn(2 * STUDIES, 512),
        "teacher_text_embeds": torch.randn(STUDIES, 512),
    }


def step(trainer):
    trainer.model.train()
    with trainer.compute_loss_context_manager():
        trainer.compute_loss(trainer.model, inputs()).backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


@torch.no_grad()
def ask(teacher, trainer):
    vision, text = teacher
    with trainer.accelerator.autocast():
        vision(pixel_values=torch.rand(2 * STUDIES, 3, 224, 224))
        text(input_ids=torch.randint(1_000, 28_000, (STUDIES, REPORT_TOKENS)))


def losses_alone(trainer):
    """Losses and their backward on outputs of the networks' shapes, as one step meets them."""
    batch, output = inputs(), trainer_output()
    teacher = trainer.teacher_similarities(batch)
    terms = trainer._global_terms(output, teacher) if trainer.args.minimises_global else {}
    if trainer.args.stage == "local":
        terms |= trainer._local_terms(output, trainer.draw_hard_negatives(batch, teacher))
    sum(terms.values()).backward()


def trainer_output():
    def leaf(*shape):
        return torch.randn(*shape).requires_grad_()

    image_mask = torch.ones(STUDIES, 325, dtype=torch.bool)
    image_mask[:, 0] = False
    text_mask = torch.ones(STUDIES, REPORT_TOKENS, dtype=torch.bool)
    text_mask[:, [0, -1]] = False
    return AmifPreTrainingOutput(
        image_embeds=leaf(2, STUDIES, 768),
        text_embeds=leaf(STUDIES, 768),
        temperatures=torch.full((3,), 0.07),
        fused_image_states=leaf(STUDIES, 325, 768),
        fused_text_states=leaf(STUDIES, REPORT_TOKENS, 768),
        image_token_mask=image_mask,
        text_token_mask=text_mask,
        matching_logits=leaf(3, 2 * STUDIES, 2),
    )


def seconds(call, *arguments):
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def median(values):
    return sorted(values)[len(values) // 2]


@pytest.mark.parametrize("trainer", ["global", "local"], indirect=True)
def test_step_teacher_and_losses(trainer, teacher):
    step(trainer), ask(teacher, trainer), losses_alone(trainer)
    rounds = [
        (seconds(step, trainer), seconds(ask, teacher, trainer), seconds(losses_alone, trainer)) for _ in range(ROUNDS)
    ]
    steps, teachers, losses = (median(values) for values in zip(*rounds, strict=True))
    print(f"\n{trainer.args.stage}: step {steps:.2f} s, teacher {teachers:.2f} s, losses {losses:.3f} s")
    print(f"online / cached {1 + teachers / steps:.2f}, losses / step {100 * losses / steps:.2f} %")
    assert losses < 0.05 * steps
