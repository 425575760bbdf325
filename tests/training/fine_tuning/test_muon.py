import torch
from small_models import small_model

from amif.training.fine_tuning.muon import MuonInFull, with_muon
from amif.training.fine_tuning.parameter_groups import set_rates_by_part

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def turned(matrix):
    """Newton-Schulz as Muon has it, plainly and in float64."""
    a, b, c = COEFFICIENTS
    matrix = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = matrix @ matrix.T
        matrix = a * matrix + (b * gram + c * gram @ gram) @ matrix
    return matrix


def test_steps_are_those_of_float32():
    """In bfloat16 an update is off by a hundredth of itself."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in [(6, 10), (10, 6), (6, 10), (8, 8)]]
    expected = [weight.detach().double() for weight in weights]
    momenta = [torch.zeros_like(weight) for weight in expected]
    optimizer = MuonInFull(
        [{"params": weights, "lr": 0.1, "use_muon": True, "weight_decay": 0.2}], use_adjusted_lr=True
    )
    for _ in range(3):
        for place, weight in enumerate(weights):
            weight.grad = torch.randn_like(weight)
            gradient = weight.grad.double()
            momenta[place] = 0.95 * momenta[place] + 0.05 * gradient
            update = turned(0.05 * gradient + 0.95 * momenta[place])
            expected[place] = expected[place] * (1 - 0.1 * 0.2) - 0.1 * 0.2 * max(weight.shape) ** 0.5 * update
        optimizer.step()
    for weight, wanted in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.detach().double(), wanted, rtol=1e-5, atol=1e-5)


def optimizer_of(model):
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.8, 0.9), eps=1e-7, weight_decay=0.1)
    set_rates_by_part(adam, model, 3e-3, None, {})
    return with_muon(adam, model, 2e-3)


def test_matrices_inside_layers_are_muons_and_all_else_is_adamws():
    model = small_model()
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = {names[p]: group for group in optimizer_of(model).param_groups for p in group["params"]}
    assert groups.keys() == set(names.values()), "each parameter stands in one group"
    for name, parameter in model.named_parameters():
        if groups[name]["use_muon"]:
            assert (groups[name]["lr"], groups[name]["weight_decay"], parameter.dim()) == (2e-3, 0.1, 2)
        else:
            rate = 3e-3 if ".vision_model." in name else 1e-3
            assert (groups[name]["lr"], groups[name]["betas"], groups[name]["eps"]) == (rate, (0.8, 0.9), 1e-7)
    muons = {name for name, group in groups.items() if group["use_muon"]}
    for name in (
        "model.image_projection",
        "knowledge_fusion.gate",
        "decoder.bert.encoder.layer.1.crossattention.self.key",
    ):
        assert f"{name}.weight" in muons
    of_adam = {name for name, parameter in model.named_parameters() if parameter.dim() == 2} - muons
    assert of_adam, "tables and the head"
    assert all("embedding" in name or "decoder.cls" in name for name in of_adam)


def test_a_saved_state_goes_on_as_if_never_stopped(tmp_path):
    """Read as checkpoints are: tensors and numbers alone."""
    model = small_model()
    optimizer = optimizer_of(model)

    def step(seed):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    step(1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    step(2)
    gone_on = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    step(2)
    torch.testing.assert_close(model.state_dict(), gone_on, rtol=0, atol=0)
