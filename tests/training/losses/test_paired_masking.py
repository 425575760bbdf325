import pytest
import torch

from amif.training.losses import hide_patches, hide_words


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("patches", "ratio", "visible"),
    [(324, 0.75, 81), (196, 0.75, 49), (324, 0.0, 324), (10, 0.9, 1), (10, 0.75, 2), (4, 0.9, 1)],
)
def test_as_many_patches_stay_visible_as_the_ratio_says(patches, ratio, visible):
    hidden = hide_patches(5, patches, ratio, generator())
    assert hidden.shape == (5, patches)
    assert (~hidden).sum(dim=1).tolist() == [visible] * 5


def test_every_patch_is_hidden_alike_often_and_each_image_has_its_own_draw():
    hidden = hide_patches(4_000, 16, 0.75, generator())
    # Four standard deviations of a binomial of 4,000.
    assert (hidden.float().mean(dim=0) - 0.75).abs().max() < 4 * (0.75 * 0.25 / 4_000) ** 0.5
    assert len({tuple(row) for row in hidden[:50].tolist()}) > 40
    assert torch.equal(hide_patches(3, 16, 0.5, generator(1)), hide_patches(3, 16, 0.5, generator(1)))


# A row a report: [CLS] the heart ##y ##s is [SEP]; [CLS] one [SEP]; [CLS] a ##b c ##d ##e f g [SEP]
WORDS = torch.tensor(
    [[0, 1, 1, 1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool
)
CONTINUED = torch.tensor(
    [[0, 0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1, 0, 0, 0]], dtype=torch.bool
)
SPANS = [[(1,), (2, 3, 4), (5,)], [(1,)], [(1, 2), (3, 4, 5), (6,), (7,)]]


@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.5, 0.75])
def test_words_are_hidden_whole_and_within_one_word_of_the_target(ratio):
    for seed in range(100):
        hidden = hide_words(WORDS, CONTINUED, ratio, generator(seed))
        assert not (hidden & ~WORDS).any(), "a special or padding token is hidden"
        for row, spans in enumerate(SPANS):
            sizes = [len(span) for span in spans if hidden[row, list(span)].any()]
            assert all(hidden[row, list(span)].all() for span in spans if hidden[row, list(span)].any())
            target = ratio * int(WORDS[row].sum())
            # One word less would be too few.
            assert sum(sizes) >= target > sum(sizes) - max(sizes)


def test_every_word_is_chosen_alike_often():
    words, continued = WORDS[2].expand(6_000, -1), CONTINUED[2].expand(6_000, -1)
    # With so small a ratio the first word drawn is the only one.
    hidden = hide_words(words, continued, 0.01, generator()).float().mean(dim=0)
    for span in SPANS[2]:
        assert abs(hidden[span[0]] - 0.25) < 4 * (0.25 * 0.75 / 6_000) ** 0.5


def test_a_report_that_fills_its_row_or_begins_within_a_word():
    words = torch.ones(1, 4, dtype=torch.bool)
    continued = torch.tensor([[True, False, False, False]])
    for seed in range(20):
        hidden = hide_words(words, continued, 0.2, generator(seed))
        assert hidden.sum() == 1
    assert len({hide_words(words, continued, 0.2, generator(seed)).int().argmax().item() for seed in range(60)}) == 4


def test_nothing_is_hidden_at_ratio_0_or_where_there_is_no_word():
    assert not hide_words(WORDS, CONTINUED, 0.0).any()
    assert not hide_words(torch.zeros_like(WORDS), CONTINUED, 0.5).any()


@pytest.mark.parametrize("ratio", [1.0, -0.1])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(ValueError, match=r"0 to below 1"):
        hide_patches(1, 4, ratio)
    with pytest.raises(ValueError, match=r"0 to below 1"):
        hide_words(WORDS, CONTINUED, ratio)
