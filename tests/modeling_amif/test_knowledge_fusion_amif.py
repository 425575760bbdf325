import pytest
import torch
from small_models import small_config, small_inputs, small_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amif import AmifForVisualQuestionAnswering
from amif.modeling_amif.knowledge_fusion_amif import AmifKnowledgeFusion


def fusion(kind="gated", embedding_size=32):
    torch.manual_seed(0)
    module = AmifKnowledgeFusion(small_config(knowledge_fusion=kind), embedding_size).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


def silence(module):
    """Leave of the module only what a test sets by hand: no attention, no feed-forward."""
    with torch.no_grad():
        for part in (module.cross_attention.output, module.feed_forward.contract):
            part.weight.zero_()
            part.bias.zero_()


def test_known_values_of_equations_14_to_16():
    """With CA = c everywhere: F_p = F + c, G = sigmoid(b), Z = F + G c; then the last normalisation."""
    module = fusion()
    silence(module)
    with torch.no_grad():
        module.cross_attention.output.bias.copy_(torch.linspace(-1, 1, 32))
        module.gate.weight.zero_()
        module.gate.bias.fill_(torch.tensor(0.25).logit())
    joint = torch.randn(2, 3, 32)
    output, gate, _ = module(joint, torch.randn(1, 5, 32))
    torch.testing.assert_close(gate, torch.full_like(gate, 0.25))
    torch.testing.assert_close(output, module.output_norm(joint + 0.25 * torch.linspace(-1, 1, 32)))


def test_gate_reads_the_fused_state():
    module = fusion()
    silence(module)
    with torch.no_grad():
        module.cross_attention.output.bias.fill_(2.0)
        module.gate.weight.copy_(torch.eye(32))
        module.gate.bias.zero_()
    joint = torch.randn(1, 4, 32)
    _, gate, _ = module(joint, torch.randn(1, 5, 32))
    torch.testing.assert_close(gate, torch.sigmoid(joint + 2.0))


@pytest.mark.parametrize(("bias", "expected"), [(-40.0, 0.0), (40.0, 1.0)])
def test_closed_gate_ignores_knowledge_and_open_gate_adds_it(bias, expected):
    module, added = fusion(), fusion("add")
    added.load_state_dict(module.state_dict(), strict=False)
    with torch.no_grad():
        module.gate.weight.zero_()
        module.gate.bias.fill_(bias)
    joint, knowledge = torch.randn(1, 4, 32), torch.randn(1, 5, 32)
    output, _, _ = module(joint, knowledge)
    if expected:
        torch.testing.assert_close(output, added(joint, knowledge)[0])
    else:
        other, _, _ = module(joint, torch.randn(1, 9, 32))
        torch.testing.assert_close(output, other)
        torch.testing.assert_close(output, module.output_norm(joint + module.feed_forward(joint)))


def test_each_question_reads_the_vocabulary_by_itself():
    """Folding the batch into one sequence of queries changes nothing."""
    module = fusion()
    joint, knowledge = torch.randn(3, 4, 32), torch.randn(1, 5, 32)
    together, gate, _ = module(joint, knowledge)
    for b in range(3):
        alone, alone_gate, _ = module(joint[b : b + 1], knowledge)
        torch.testing.assert_close(together[b : b + 1], alone)
        torch.testing.assert_close(gate[b : b + 1], alone_gate)


def test_eager_weights_over_the_vocabulary():
    config = small_config()
    config._attn_implementation = "eager"
    module = AmifKnowledgeFusion(config, 32).eval()
    _, _, weights = module(torch.randn(2, 3, 32), module.encode_knowledge(torch.randn(5, 32)), output_attentions=True)
    assert weights.shape == (2, 4, 3, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 3))


def test_other_embedding_width_is_projected():
    module = fusion(embedding_size=20)
    assert module.encode_knowledge(torch.randn(6, 20)).shape == (1, 6, 32)


def test_vocabulary_is_a_set_of_rows():
    module = fusion()
    embeddings, order = torch.randn(6, 32), torch.randperm(6)
    states = module.encode_knowledge(embeddings)
    torch.testing.assert_close(module.encode_knowledge(embeddings[order]), states[:, order])


class LargestResult(TorchDispatchMode):
    """How many elements the largest tensor has that is computed."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        tensors = [result for result in tree_leaves(results) if isinstance(result, torch.Tensor)]
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return results


def test_many_tokens_train_without_memory_of_their_square():
    """A vocabulary of 20,000 tokens would need 1.6 GB a head."""
    tokens = 2000
    model = small_model(knowledge=0)
    model.set_knowledge(torch.randint(3, 100, (tokens,)))
    model.train()
    with LargestResult() as largest:
        states = model.knowledge_states()
        output, _, _ = model.knowledge_fusion(torch.randn(2, 5, 32), states)
        output.sum().backward()
    assert states.shape == (1, tokens, 32)
    assert torch.isfinite(model.model.get_input_embeddings().weight.grad).all()
    assert tokens * 32 <= largest.elements < tokens * tokens / 4


def test_states_are_cached_until_weights_or_vocabulary_change():
    model = small_model()
    with torch.no_grad():
        first = model.knowledge_states()
        assert model.knowledge_states() is first

        model.knowledge_fusion.knowledge_norm.weight.mul_(2)
        second = model.knowledge_states()
        assert second is not first
        assert not torch.equal(second, first)

        model.set_knowledge([5, 6, 7])
        assert model.knowledge_states().shape == (1, 3, 32)

        third = model.knowledge_states()
        model.load_state_dict(small_model(seed=3).state_dict() | {"knowledge_ids": torch.tensor([5, 6, 7])})
        assert not torch.equal(model.knowledge_states(), third)


def test_cached_states_change_with_an_optimizer_step_and_never_leak_into_training():
    """A fused optimizer writes weights without raising their version counters."""
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    model.knowledge_states().square().sum().backward()
    with torch.no_grad():
        before = model.knowledge_states().clone()
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        assert not torch.equal(model.knowledge_states(), before)
        assert model.knowledge_states() is model.knowledge_states()
    model.train()
    assert model.knowledge_states().requires_grad


def test_empty_vocabulary_and_model_without_fusion_refuse():
    with pytest.raises(ValueError, match="empty"):
        small_model().set_knowledge([])
    with pytest.raises(ValueError, match="knowledge_fusion='none'"):
        small_model(knowledge_fusion="none").set_knowledge([1])


def zero_start():
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(small_config(knowledge_zero_init=True, hidden_dropout_prob=0.0))
    model.set_knowledge([5, 6, 102, 7, 102])
    return model


def test_zero_init_starts_from_the_model_without_knowledge():
    model = zero_start().eval()
    with torch.no_grad():
        states = model.encode(**small_inputs()).joint_states
        torch.testing.assert_close(states, model.model(**small_inputs()).last_hidden_state, atol=1e-6, rtol=0)
    assert torch.count_nonzero(
        AmifForVisualQuestionAnswering(small_config()).knowledge_fusion.feed_forward.contract.weight
    )


def test_zero_init_reaches_every_part_of_the_fusion_at_the_second_step():
    """At the first step what is zero learns, and nothing behind it does yet."""
    model = zero_start().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trained = []
    for _ in range(2):
        model(**small_inputs(), labels=torch.tensor([[101, 8, 102]] * 4)).loss.backward()
        gradients = {name: p.grad for name, p in model.knowledge_fusion.named_parameters() if p.grad is not None}
        trained.append({name for name, gradient in gradients.items() if gradient.abs().max() > 0})
        optimizer.step()
        optimizer.zero_grad()
    last = {
        f"{part}.{kind}" for part in ("cross_attention.output", "feed_forward.contract") for kind in ("weight", "bias")
    }
    assert trained[0] == last | {"output_norm.weight", "output_norm.bias"}
    # A bias of the keys moves all scores of a query alike, and so nothing; what is left of it is rounding.
    assert trained[1] | {"self_attention.key.bias", "cross_attention.key.bias"} == {
        name for name, _ in model.knowledge_fusion.named_parameters()
    }


def test_zero_init_leaves_loaded_weights_as_they_are(tmp_path):
    model = zero_start()
    with torch.no_grad():
        model.knowledge_fusion.feed_forward.contract.weight.fill_(0.5)
    model.save_pretrained(tmp_path)
    loaded = AmifForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert loaded.config.knowledge_zero_init
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
