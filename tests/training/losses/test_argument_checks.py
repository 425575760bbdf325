"""Wrong arguments of every loss: each ends in an error of ours that names the argument."""

import pytest
import torch
from our_errors import result_or_our_error
from torch._subclasses.fake_tensor import FakeTensorMode

from amif.training import losses
from amif.training.losses import global_alignment
from amif.training.losses.group_alignment import mask_of_patches

LENGTHS = {"B": 2, "N": 3, "n": 3, "m": 4, "e": 5, "L": 4, "P": 4, "c": 1, "h": 8, "w": 8, "v": 16, "V": 6, "views": 2}

# By function its right arguments: of a tensor its kind and axes.
PAIRS = {"first": ("floats", "B n e"), "second": ("floats", "B n e")}
TOKENS = {"image_tokens": ("floats", "B n e"), "text_tokens": ("floats", "B m e")}
GROUPS = {"image_groups": ("floats", "B L e"), "text_groups": ("floats", "B P e"), "text_mask": ("flags", "B L")}
MASKS = {"image_mask": ("flags", "B n"), "text_mask": ("flags", "B m")}
TEMPERATURE = {"temperature": ("temperature", "")}
MATCHING = {"logits": ("floats", "n 2"), "labels": ("labels", "n")}
GENERATOR = {"generator": ("generator", "")}
CALLS = {
    losses.cosine_similarities: {"queries": ("floats", "B n e"), "keys": ("floats", "B m e")},
    losses.info_nce: {"similarity": ("floats", "N N")} | TEMPERATURE,
    losses.one_hot_labels: {"similarity": ("floats", "n m")},
    losses.soft_labels: {
        "similarity": ("floats", "n m"),
        "flexibility_weight": ("number", ""),
        "form": ("choice", ""),
    }
    | TEMPERATURE,
    losses.soft_label_alignment: {"log_probabilities": ("floats", "n m"), "targets": ("floats", "n m")},
    losses.token_contrast: PAIRS | TEMPERATURE | {"mask": ("flags", "B n"), "negatives": ("choice", "")},
    losses.read_across: {"queries": ("floats", "B n e"), "tokens": ("floats", "B m e"), "mask": ("flags", "B m")}
    | TEMPERATURE,
    losses.local_alignment: TOKENS
    | {"text_mask": ("required flags", "B m"), "negatives": ("choice", "")}
    | TEMPERATURE,
    losses.group_alignment: {"text_tokens": ("floats", "B L e"), "image_tokens": ("floats", "B P e")}
    | {"image_groups": ("optional floats", "B L e"), "text_groups": ("optional floats", "B P e")}
    | {"text_mask": ("required flags", "B L"), "negatives": ("choice", "")}
    | TEMPERATURE,
    losses.cross_group_alignment: GROUPS
    | {"text_mask": ("required flags", "B L"), "attention_temperature": ("temperature", "")}
    | TEMPERATURE,
    mask_of_patches: {"text_mask": ("required flags", "B L"), "patches": ("floats", "B P e")},
    losses.pooled_groups: {"groups": ("floats", "B n e"), "mask": ("flags", "B n")},
    losses.min_max_similarity: {"similarity": ("floats", "B n m"), "mask": ("flags", "B m")},
    losses.sparsify: {"similarity": ("floats", "B n m"), "threshold": ("floats", "B n"), "form": ("choice", "")},
    losses.gather_groups: {
        "anchors": ("floats", "B n e"),
        "tokens": ("floats", "B m e"),
        "threshold": ("floats", "B n"),
        "mask": ("flags", "B m"),
        "similarity": ("choice", ""),
        "sparsity": ("choice", ""),
    },
    losses.sample_hard_negatives: {"weights": ("weights", "n m"), "exclude": ("no flags", "n m")} | GENERATOR,
    losses.matching_labels: {"negatives": ("whole", "n")},
    losses.matching_loss: MATCHING,
    losses.matching_accuracy: MATCHING,
    losses.mean_token_cosine: {"tokens": ("floats", "B n e"), "mask": ("flags", "B n")},
    losses.plan_entropy: {"plan": ("floats", "B n m")},
    losses.retrieval_recall: {"similarity": ("floats", "n m"), "k": ("count", ""), "relevant": ("bools", "n m")},
    losses.contrast_accuracy: PAIRS | {"mask": ("flags", "B n")},
    losses.transport_cost: TOKENS | MASKS,
    losses.transport_loss: TOKENS | MASKS | {"solver": ("choice", "")},
    losses.transport_plan: {
        "cost": ("finite floats", "B n m"),
        "row_mask": ("flags", "B n"),
        "column_mask": ("flags", "B m"),
        "solver": ("choice", ""),
    },
    losses.transport_contrast: {
        "own": ("floats", "N"),
        "other": ("floats", "N"),
        "margin": ("number", ""),
        "contrast": ("choice", ""),
    },
    losses.hide_patches: {"batch": ("count", ""), "patches": ("count", ""), "ratio": ("ratio", "")} | GENERATOR,
    losses.hide_words: {
        "words": ("required bools", "B L"),
        "continued": ("required bools", "B L"),
        "ratio": ("ratio", ""),
    }
    | GENERATOR,
    losses.normalised_patches: {"pixel_values": ("floats", "B c h w"), "patches": ("count", "")},
    losses.image_reconstruction_loss: {
        "predictions": ("floats", "B P v"),
        "pixel_values": ("floats", "B c h w"),
        "hidden_patches": ("required bools", "B P"),
    },
    losses.report_reconstruction_loss: {
        "logits": ("hidden floats", "n V"),
        "input_ids": ("tokens", "B L"),
        "hidden_tokens": ("hidden bools", "B L"),
    },
    global_alignment.batch_similarities: {"images": ("floats", "views N e"), "texts": ("floats", "N e")},
}
CHOICES = {
    "negatives": "in_pair",
    "solver": "emd",
    "sparsity": "ste",
    "similarity": "inner",
    "contrast": "margin",
    "form": None,
}


def right(function, name, kind, axes):
    """An argument that is right."""
    shape = [int(axis) if axis.isdigit() else LENGTHS[axis] for axis in axes.split()]
    if kind == "choice":
        return CHOICES[name] or {"soft_labels": "paper_raw", "sparsify": "ste"}[function.__name__]
    if kind == "hidden bools":
        return torch.tensor([[True, True, False, False], [True, False, False, False]])
    plain = {"temperature": 0.5, "number": 0.1, "ratio": 0.5, "count": 4, "generator": torch.Generator()}
    if kind in plain:
        return plain[kind]
    if kind.endswith("floats"):
        return torch.rand(shape) + 0.1
    if kind == "weights":
        return torch.rand(shape)
    if kind == "no flags":
        return torch.zeros(shape, dtype=torch.bool)
    dtype = torch.bool if kind.endswith(("flags", "bools")) else torch.long
    return torch.ones(shape, dtype=dtype)


def wrong_values(kind, value):
    """By name, what is wrong in place of `value`."""
    if not isinstance(value, torch.Tensor):
        common = {"text": "0.5", "list": [0.5], "NaN": float("nan")}
        less = {"None": None, "infinity": float("inf")}
        return {
            "temperature": common
            | less
            | {"0": 0, "-1": -1.0, "True": True, "two": torch.ones(2)}
            | {"whole": torch.tensor(1), "tensor of 0": torch.tensor(0.0), "-0.1": torch.tensor([-0.1])},
            "number": common | less | {"True": True, "tensor": torch.ones(2)},
            "ratio": common | less | {"1": 1, "-0.1": -0.1, "True": True},
            "count": common | less | {"0": 0, "-1": -1, "2.0": 2.0, "True": True},
            "generator": {"number": 5, "text": "seed"},
            "choice": {"another": "other", "None": None, "list": ["ste"], "number": 1},
        }[kind]
    wrong = {
        "list": value.tolist(),
        "text": "tensor",
        "complex": value.to(torch.complex64),
        "another axis": value.unsqueeze(0).unsqueeze(0),
        "an axis less": value.sum(dim=0).to(value.dtype),
        "empty": value[:0],
        "another device": value.to("meta"),
    }
    if not kind.startswith("optional") and kind not in ("flags", "no flags", "bools"):
        wrong["None"] = None
    if kind.endswith("floats") or kind == "weights":
        wrong |= {"whole": value.long(), "bool": value.bool()}
    elif kind.endswith(("flags", "bools")):
        wrong |= {"floats": value.float(), "additive": (value.float() - 1) * 1e9, "bytes": value.to(torch.uint8)}
        wrong |= {"2": value.long() + 2} if kind.endswith("flags") else {"whole": value.long()}
    else:
        wrong |= {"floats": value.float(), "int32": value.int(), "bool": value.bool()}
    if kind == "labels":
        wrong |= {"2": value * 2, "-1": -value}
    if kind == "tokens":
        wrong |= {"beyond": value * LENGTHS["V"], "negative": -value}
    if kind == "weights":
        wrong |= {"negative weight": -value, "NaN weight": value * torch.nan}
    if kind == "finite floats":
        wrong |= {"NaN cost": value * torch.nan}
    return wrong


def shared_axes(arguments):
    """Each axis of a tensor that another tensor, or another axis of the tensor, has too."""
    letters = [letter for kind, axes in arguments.values() for letter in axes.split()]
    for name, (_, axes) in arguments.items():
        for place, letter in enumerate(axes.split()):
            if letter.isdigit() or letters.count(letter) > 1:
                yield name, place


def is_wrong(function, name, what):
    """Whether it is wrong here: a single tensor has no other device, and cosines take any axes before the last two."""
    if what == "another device":
        return sum(bool(axes) for _, axes in CALLS[function].values()) > 1
    if function is losses.transport_plan and name == "cost":
        return what != "an axis less"  # then its masks are wrong
    return function is not losses.cosine_similarities or what not in ("another axis", "an axis less")


CASES = [
    (function, name, what)
    for function, arguments in CALLS.items()
    for name, (kind, axes) in arguments.items()
    for what in wrong_values(kind, right(function, name, kind, axes))
    if is_wrong(function, name, what)
]


def right_arguments(function):
    return {name: right(function, name, *spec) for name, spec in CALLS[function].items()}


def assert_refused(function, arguments):
    results, said = [], []

    def call():
        try:
            results.append(function(**arguments))
        except (ValueError, TypeError) as error:
            said.append(str(error))
            raise

    result_or_our_error(call)
    assert not results, f"no error: {results}"
    return said[0]


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_right_arguments_are_not_refused(function):
    result = function(**right_arguments(function))
    assert result is not None


def test_every_loss_is_tried():
    assert {getattr(losses, name) for name in losses.__all__ if callable(getattr(losses, name))} <= CALLS.keys()


@pytest.mark.parametrize(
    ("function", "name", "what"), CASES, ids=[f"{function.__name__}-{name}-{what}" for function, name, what in CASES]
)
def test_wrong_arguments_are_named(function, name, what):
    arguments = right_arguments(function)
    kind, _ = CALLS[function][name]
    said = assert_refused(function, arguments | {name: wrong_values(kind, arguments[name])[what]})
    assert name in said.lower().replace("weight ", "weights ")


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_tensors_of_other_lengths_are_named(function):
    arguments = right_arguments(function)
    for name, place in shared_axes(CALLS[function]):
        value = arguments[name]
        for changed in (torch.cat([value, value], dim=place), value.narrow(place, 0, 1)):
            fits = function is losses.cosine_similarities and place == 0 and len(changed) == 1
            if changed.shape != value.shape and not fits:
                assert_refused(function, arguments | {name: changed})


def test_axes_before_the_last_two_may_be_any_that_fit():
    cosines = losses.cosine_similarities
    assert cosines(torch.rand(2, 3, 5), torch.rand(4, 5)).shape == (2, 3, 4)
    assert cosines(torch.rand(7, 1, 3, 5), torch.rand(2, 4, 5)).shape == (7, 2, 3, 4)
    assert losses.transport_cost(torch.rand(3, 5), torch.rand(4, 5)).shape == (3, 4)
    with pytest.raises(ValueError, match=r"queries .* keys .* different batches"):
        cosines(torch.rand(2, 3, 5), torch.rand(3, 4, 5))


@pytest.mark.parametrize("function", [losses.cosine_similarities, losses.gather_groups, losses.read_across])
def test_floats_of_two_widths_are_refused(function):
    arguments = right_arguments(function)
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=r"float64 and .* is torch\.float32: give both in one"):
        function(**(arguments | {name: arguments[name].double()}))


def test_terms_of_the_global_loss():
    scalar = torch.tensor(1.0)
    assert global_alignment.global_loss({"i2t": scalar, "t2i": scalar}) == 1
    for wrong in ([scalar], {"i2t": scalar}, {"i2t": scalar, "t2i": 1.0}, {"i2t": scalar, "t2i": torch.ones(2)}):
        assert "t" in assert_refused(global_alignment.global_loss, {"terms": wrong})


def test_no_groups_at_all():
    arguments = right_arguments(losses.group_alignment) | {"image_groups": None, "text_groups": None}
    assert "both None" in assert_refused(losses.group_alignment, arguments)


@pytest.mark.parametrize(
    "function",
    [losses.info_nce, losses.token_contrast, losses.soft_labels, losses.gather_groups, losses.transport_cost],
    ids=lambda function: function.__name__,
)
def test_nan_goes_through_to_the_loss(function):
    """Trainers stop there, with the number of the step; nothing that looks well comes out."""
    arguments = right_arguments(function)
    for name, (kind, _) in CALLS[function].items():
        if kind == "floats" and name != "threshold":
            result = function(**(arguments | {name: arguments[name] * torch.nan}))
            assert all(part.isnan().any() for part in (result if isinstance(result, tuple) else (result,)))


def test_pairs_of_nan_are_not_told_rightly():
    assert losses.matching_accuracy(torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.long)) == 0


def test_checks_are_compiled_away():
    compiled = torch.compile(losses.token_contrast, backend="eager", fullgraph=True)
    arguments = right_arguments(losses.token_contrast) | {"temperature": torch.tensor(0.5)}
    torch.testing.assert_close(compiled(**arguments), losses.token_contrast(**arguments))


# They read values themselves: to draw, to solve, or to pick what is hidden or valid.
READ = (
    *(losses.sample_hard_negatives, losses.transport_loss, losses.transport_plan, losses.plan_entropy),
    *(losses.report_reconstruction_loss, losses.image_reconstruction_loss),
    *(losses.matching_accuracy, losses.mean_token_cosine, losses.contrast_accuracy),
)


@pytest.mark.parametrize("function", [f for f in CALLS if f not in READ], ids=lambda function: function.__name__)
def test_a_gpu_never_waits_for_a_check(function):
    """Tensors without values, which say that they are of a GPU, raise where one is read."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        arguments = {
            name: mode.from_tensor(value).to("cuda") if isinstance(value, torch.Tensor) else value
            for name, value in right_arguments(function).items()
        }
        if "generator" not in arguments:
            function(**arguments)
