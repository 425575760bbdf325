"""The vocabulary that a model fuses as prior knowledge (section 3.4.1), and what it selects from it."""

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from ...modeling_amif.knowledge_fusion_amif import AmifKnowledgeFusion
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..data.references import normal_form
from ..data.vqa_collator import AmifVqaCollator
from ..data.vqa_rows import VqaRows
from ..evaluation.knowledge_selection import KnowledgeSelection, entry_numbers, entry_weights, knowledge_selection
from ..evaluation.protocols import distinct_answers

SOURCES = ("answers", "questions")


def knowledge_ids(source: str, training: Dataset, processor: AmifProcessor) -> torch.Tensor:
    """Token ids of the distinct answers or questions of the training rows, each closed by [SEP].

    Args:
        source: "answers" (normalised) or "questions" (lower-cased where the processor does).
        training: Rows of the schema whose answers may be known.
        processor: Gives the tokens.

    Returns:
        (M,) int64, as `set_knowledge` takes them.

    Raises:
        ValueError: If `source` is neither.
    """
    if source not in SOURCES:
        raise ValueError(f"knowledge={source!r} is unknown; choose one of {SOURCES} or none.")
    texts = distinct_answers(training) if source == "answers" else list(dict.fromkeys(training["question"]))
    encoded = processor.encode_answers(texts) if source == "answers" else processor(text=texts)
    return encoded["input_ids"][:, 1:][encoded["attention_mask"][:, 1:].bool()]


@torch.no_grad()
def measure_knowledge(
    model: AmifForVisualQuestionAnswering, processor: AmifProcessor, questions: Dataset, batch_size: int
) -> KnowledgeSelection:
    """What a model's attention over its vocabulary of answers selects for the questions that one of them answers.

    Args:
        model: With a vocabulary of answers; it is left in evaluation mode.
        processor: The model's.
        questions: Rows of the schema.
        batch_size: Questions a step.

    Raises:
        ValueError: As `entries_that_answer`.
    """
    of_rows = entries_that_answer(model, processor, questions)
    known, true = questions.select(list(of_rows)), list(of_rows.values())
    fusion, ids = _fusion_and_ids(model)
    entries = entry_numbers(ids, model.config.eos_token_id)
    implementation = model.config._attn_implementation or "eager"
    model.eval().set_attn_implementation("eager")  # which alone keeps its weights
    weights, attended, gates = [], [], []
    for batch in DataLoader(VqaRows(known), batch_size=batch_size, collate_fn=AmifVqaCollator(processor)):
        read = ("pixel_values", "input_ids", "attention_mask", "image_index")
        joint = model.model(**{name: batch[name].to(model.device) for name in read})
        valid, states, knowledge = joint.attention_mask.bool(), joint.last_hidden_state, model.knowledge_states()
        added, of_tokens = fusion.cross_attention(states[valid].unsqueeze(0), knowledge)
        of_entries = entry_weights(of_tokens[0].mean(0).float(), entries).split(valid.sum(1).tolist())
        weights += [tokens.mean(0).cpu() for tokens in of_entries]
        attended.append(added[0])
        gate = fusion(states, knowledge)[1]
        gates += [] if gate is None else [gate[valid]]
    model.set_attn_implementation(implementation)
    return knowledge_selection(torch.stack(weights), true, torch.cat(attended), torch.cat(gates) if gates else None)


def entries_that_answer(
    model: AmifForVisualQuestionAnswering, processor: AmifProcessor, questions: Dataset
) -> dict[int, int]:
    """Of each row whose answer the model's vocabulary holds, the number of that entry; no model is run.

    Raises:
        ValueError: If the model has no knowledge, or fewer than two rows have such an answer.
    """
    (_, ids), end = _fusion_and_ids(model), model.config.eos_token_id
    entries = entry_numbers(ids, end)
    place = {tuple(ids[entries == entry].tolist()): entry for entry in range(int((ids == end).sum()))}
    forms = {row: normal_form(answer) for row, answer in enumerate(questions["answer"]) if answer is not None}
    spoken: list[tuple[int, ...]] = []
    if forms:
        encoded = processor.encode_answers(list(forms.values()))
        lengths = encoded["attention_mask"].sum(1).tolist()
        spoken = [tuple(tokens[1 : n - 1].tolist()) for tokens, n in zip(encoded["input_ids"], lengths, strict=True)]
    found = {row: place[tokens] for row, tokens in zip(forms, spoken, strict=True) if tokens in place}
    if len(found) < 2:
        raise ValueError(
            f"--measure_knowledge ranks the entries that answer, and an entry of this model's knowledge answers "
            f"{len(found)} of {len(questions)} questions: it takes two at least. Leave it out, or measure a model that "
            "fuses answers, on questions whose answers are known."
        )
    return found


def _fusion_and_ids(model: AmifForVisualQuestionAnswering) -> tuple[AmifKnowledgeFusion, torch.Tensor]:
    if model.knowledge_fusion is None or model.knowledge_ids is None:
        raise ValueError(
            "--measure_knowledge ranks the answers that are fused, and this model fuses none: leave it out."
        )
    return model.knowledge_fusion, model.knowledge_ids
