import math

import torch
from small_models import small_config
from torch.nn.functional import gelu, layer_norm

from amif.modeling_amif import attention_amif
from amif.modeling_amif.co_attention_amif import AmifCoAttention

PATCHES = 100


def naive_attention(module, queries, context, valid):
    """One head, one query, one key at a time."""
    query, key, value = module.query(queries), module.key(context), module.value(context)
    output = torch.zeros_like(query)
    for head in range(query.shape[1] // module.head_size):
        part = slice(head * module.head_size, (head + 1) * module.head_size)
        for i in range(len(query)):
            scores = [
                (query[i, part] @ key[j, part]).item() / math.sqrt(module.head_size) if valid[j] else -math.inf
                for j in range(len(key))
            ]
            weights = torch.tensor(scores).softmax(0)
            for j in range(len(key)):
                output[i, part] += weights[j] * value[j, part]
    return module.output(output)


def naive_layer(layer, states, other, valid, other_valid):
    def norm(module, x):
        return layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)

    states = norm(layer.self_attention_norm, states + naive_attention(layer.self_attention, states, states, valid))
    attended = naive_attention(layer.cross_attention, states, other, other_valid)
    states = norm(layer.cross_attention_norm, states + attended)
    inner = gelu(states @ layer.feed_forward.expand.weight.T + layer.feed_forward.expand.bias)
    inner = inner @ layer.feed_forward.contract.weight.T + layer.feed_forward.contract.bias
    return norm(layer.feed_forward_norm, states + inner)


def stacks():
    torch.manual_seed(0)
    config = small_config()
    config._attn_implementation = "sdpa"
    module = AmifCoAttention(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def test_equals_naive_loops_with_parallel_update_and_padding():
    module = stacks()
    text, image = torch.randn(2, 5, 32), torch.randn(2, 4, 32)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        new_text, new_image, _ = module(text, image, mask)
        for b in range(2):
            t, v = text[b] + module.modality_embedding.weight[0], image[b] + module.modality_embedding.weight[1]
            everywhere = [True] * len(v)
            for text_layer, image_layer in zip(module.text_layers, module.image_layers, strict=True):
                t, v = (
                    naive_layer(text_layer, t, v, mask[b].bool(), everywhere),
                    naive_layer(image_layer, v, t, everywhere, mask[b].bool()),
                )
            valid = mask[b].bool()
            torch.testing.assert_close(new_text[b][valid], t[valid], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(new_image[b], v, rtol=1e-4, atol=1e-5)


def test_padded_text_has_no_influence():
    module = stacks()
    text, image = torch.randn(1, 5, 32), torch.randn(1, 4, 32)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    other = torch.where(mask[..., None].bool(), text, torch.randn_like(text))
    with torch.no_grad():
        first, second = module(text, image, mask), module(other, image, mask)
    assert torch.equal(first[0][:, :3], second[0][:, :3])
    assert torch.equal(first[1], second[1])


def test_image_tokens_are_a_set():
    module = stacks()
    text, image, order = torch.randn(1, 3, 32), torch.randn(1, 6, 32), torch.randperm(6)
    with torch.no_grad():
        text_a, image_a, _ = module(text, image)
        text_b, image_b, _ = module(text, image[:, order])
    torch.testing.assert_close(text_a, text_b)
    torch.testing.assert_close(image_a[:, order], image_b)


def test_eager_weights_are_distributions_that_skip_padding():
    config = small_config()
    config._attn_implementation = "eager"
    module = AmifCoAttention(config).eval()
    mask = torch.tensor([[1, 1, 0]])
    _, _, weights = module(torch.randn(1, 3, 32), torch.randn(1, 4, 32), mask, output_attentions=True)
    assert {name: tuple(layers[0].shape) for name, layers in weights.items()} == {
        "text_attentions": (1, 4, 3, 3),
        "text_to_image_attentions": (1, 4, 3, 4),
        "image_attentions": (1, 4, 4, 4),
        "image_to_text_attentions": (1, 4, 4, 3),
    }
    for layers in weights.values():
        assert len(layers) == 2
        torch.testing.assert_close(layers[0].sum(-1), torch.ones(layers[0].shape[:-1]))
    assert weights["image_to_text_attentions"][1][..., 2].abs().max() == 0


def test_dropout_keeps_no_attention_weights_and_recomputes_the_same_gradients(monkeypatch):
    def train():
        torch.manual_seed(0)
        config = small_config(attention_probs_dropout_prob=0.5)
        config._attn_implementation = "sdpa"
        module, sizes = AmifCoAttention(config).train(), []

        def keep(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            text, image, _ = module(torch.randn(2, 4, 32), torch.randn(2, PATCHES, 32))
        (text.square().sum() + image.square().sum()).backward()
        return {name: parameter.grad for name, parameter in module.named_parameters()}, max(sizes)

    gradients, largest = train()
    monkeypatch.setattr(attention_amif, "checkpoint", lambda attend, *args, use_reentrant, **kw: attend(*args, **kw))
    expected, materialised = train()
    batch, heads = 2, 4
    assert largest < batch * heads * PATCHES**2 <= materialised
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, msg=name)
