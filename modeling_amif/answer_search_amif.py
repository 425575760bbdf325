"""Ranking candidate answers by search: what `rank_exhaustively` returns, without reading what cannot win.

Candidates form a trie of tokens. A log-likelihood only falls along a path, so the sum so far bounds every candidate
below a prefix (divided by the longest of them for "mean"). Prefixes are read best bound first, in waves: one pass of
the decoder reads several prefixes of every unfinished question. All prefixes of a question lie in one row of that pass,
as a tree: each sees its own beginnings only. So [CLS], the question's image and every prefix read before are shared.

A pass costs about as much for few tokens as for one; waves begin that small and double. What follows a prefix is read
in the same wave and forgotten then. Where likelihood so far lets expect that none of it can win, the prefix is read
alone, and once more if the search does go on from it. Where bounds exclude nothing, whole branches are read, each once.
"""

import heapq
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from math import inf

import torch

from .answer_ranking_amif import AmifRankingOutput, AnswerScorer, ranking_of

FIRST_WAVE, LARGEST_WAVE = 32, 512  # tokens of a pass, over all questions
TOKENS_PER_HEAD_PASS = 256
ROOT = 0


class CandidateTrie:
    """The prefixes of all candidates, numbered depth first: a branch is a range. Number 0 is the empty prefix.

    A step is a token that may follow a prefix. All attributes are flat arrays of int64: 100,000 candidates may have
    half a million prefixes, too many for an object each.

    Args:
        candidates: (N, T) int64, the token ids after [CLS] of each, the closing token included, then -1.

    Attributes:
        tokens: The last token of each prefix.
        depths: The number of tokens of each prefix.
        parents: The prefix without its last token.
        sizes: Prefixes in the branch that begins with each, itself included.
        longest: Tokens of the longest candidate that goes on from each prefix.
        first: The first in order of the candidates that go on from each prefix.
        step_tokens: The token of each step, those of a prefix in a row (`steps`).
        step_prefixes: The longer prefix that a step leads to; -1 where every candidate is complete.
    """

    def __init__(self, candidates: torch.Tensor) -> None:
        order = _path_order(candidates)
        rows = candidates[order]
        alike = (rows[1:] == rows[:-1]).cumprod(dim=1, dtype=torch.int8).sum(dim=1)  # tokens shared with the row before
        starts = torch.cat([torch.zeros(1, dtype=torch.long), 1 + (alike < rows.shape[1]).nonzero().flatten()])
        rows, alike, ends = rows[starts], alike[starts[1:] - 1], torch.cat([starts[1:], torch.tensor([len(rows)])])
        lengths = (rows >= 0).sum(dim=1)
        # Of the prefixes of a row, those that the rows before it have: a row that is one is no prefix of itself.
        known = torch.cat([torch.zeros(1, dtype=torch.long), alike.minimum(lengths[:-1] - 1)]).unsqueeze(1)
        columns, last = torch.arange(rows.shape[1]), lengths.unsqueeze(1) - 1
        new = (columns >= known) & (columns < last)
        numbers = (new.flatten().cumsum(dim=0).view_as(new) * new).cummax(dim=0).values
        numbers = torch.cat([torch.zeros_like(last), numbers], dim=1)  # (rows, T + 1), of beginnings by their length
        row, column = new.nonzero(as_tuple=True)
        tokens, parents, depths = rows[row, column], numbers[row, column], column + 1
        self._set_prefixes(tokens, parents, depths)
        going = columns < last
        below, number = numbers[:, 1:][going], len(self.tokens)
        of_rows = [values.unsqueeze(1).expand_as(going)[going] for values in (lengths, order[starts])]
        self.longest = _flat(torch.zeros(number, dtype=torch.long).scatter_reduce(0, below, of_rows[0], "amax"))
        self.first = _flat(torch.full((number,), len(order)).scatter_reduce(0, below, of_rows[1], "amin"))
        # A row that the next one goes on from is a prefix, the others are complete where they end.
        goes_on = torch.cat([alike == lengths[:-1], torch.tensor([False])])
        own, leaves = goes_on.nonzero().flatten(), (~goes_on).nonzero().flatten()
        row_of = torch.full((number,), -1).scatter(0, numbers[own + 1, lengths[own]], own)[1:]
        leaf_parents, leaf_tokens = (part.gather(1, last)[leaves, 0] for part in (numbers, rows))
        follow = torch.cat([parents, leaf_parents])
        by_prefix = follow.argsort(stable=True)
        row_of = torch.cat([row_of, leaves])[by_prefix]
        self.step_tokens = _flat(torch.cat([tokens, leaf_tokens])[by_prefix])
        self.step_prefixes = _flat(torch.cat([torch.arange(1, number), torch.full_like(leaves, -1)])[by_prefix])
        counts = follow.bincount(minlength=number)
        self._step_starts = _flat(torch.cat([counts.new_zeros(1), counts.cumsum(dim=0)]))
        self._order = _flat(order)
        self._complete_from, self._complete_to = (
            _flat(torch.where(row_of < 0, 0, places[row_of])) for places in (starts, ends)
        )

    def _set_prefixes(self, tokens: torch.Tensor, parents: torch.Tensor, depths: torch.Tensor) -> None:
        root = torch.zeros(1, dtype=torch.long)
        parents, depths = torch.cat([root, parents]), torch.cat([root, depths])
        sizes = torch.ones_like(depths)
        for depth in range(int(depths.max()), 0, -1):
            level = (depths == depth).nonzero().flatten()
            sizes.index_add_(0, parents[level], sizes[level])
        self.tokens, self.parents = _flat(torch.cat([root, tokens])), _flat(parents)
        self.depths, self.sizes = _flat(depths), _flat(sizes)

    def steps(self, prefix: int) -> range:
        """The numbers of the steps from a prefix."""
        return range(self._step_starts[prefix], self._step_starts[prefix + 1])

    def following(self, prefix: int) -> Sequence[int]:
        """The tokens of the steps from a prefix."""
        return self.step_tokens[self._step_starts[prefix] : self._step_starts[prefix + 1]]

    def complete(self, step: int) -> Sequence[int]:
        """The candidates that end with a step, in their order."""
        return self._order[self._complete_from[step] : self._complete_to[step]]

    def branch(self, prefix: int, room: int) -> range:
        """The whole branch that begins with a prefix, where there is room for it; else as far as it has one way on."""
        if self.sizes[prefix] <= room:
            return range(prefix, prefix + self.sizes[prefix])
        last = prefix
        while last - prefix + 1 < room and self.sizes[last + 1] == self.sizes[last] - 1:
            last += 1
        return range(prefix, last + 1)


def _path_order(candidates: torch.Tensor) -> torch.Tensor:
    """The places of candidates sorted token by token, the end first; equal ones keep their order."""
    order = torch.arange(len(candidates))
    for column in reversed(range(candidates.shape[1])):
        tokens = candidates[order, column]
        longer = tokens >= 0  # few, in the columns that the longest candidates alone reach
        order = torch.cat([order[~longer], order[longer][tokens[longer].argsort(stable=True)]])
    return order


def _flat(values: torch.Tensor) -> array:
    return array("q", values.tolist())


class _CandidateList:
    """Candidates as a key: lists of the same tokens in the same order are one."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens = tokens

    def __hash__(self) -> int:
        return hash((*self.tokens.shape, int(self.tokens.sum())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CandidateList) and torch.equal(self.tokens, other.tokens)


# A data set's questions are ranked batch by batch over the same candidates.
@lru_cache(maxsize=4)
def _trie_of(candidates: _CandidateList) -> CandidateTrie:
    return CandidateTrie(candidates.tokens)


def rank_by_search(
    scorer: AnswerScorer,
    candidates: torch.Tensor,
    top_k: int,
    score: str,
    own: Sequence[Sequence[int]] | None = None,
) -> AmifRankingOutput:
    """The result of `rank_exhaustively`; arguments as there.

    Scores agree to rounding. Candidates whose scores differ by less than the rounding of the decoder's number format
    (about 1e-6 in float32, 0.05 in bfloat16) may change places.
    """
    lists = own or [range(len(candidates))] * len(scorer.states)
    if own is None:
        tries = [_trie_of(_CandidateList(candidates))] * len(lists)
    else:
        tries = [_trie_of(_CandidateList(candidates[list(places)])) for places in own]
    steps = [(row, token) for row, trie in enumerate(tries) for token in trie.following(ROOT)]
    roots = iter(scorer.first_log_probs[[row for row, _ in steps], [token for _, token in steps]].tolist())
    searches = [
        _Search(trie, list(islice(roots, len(trie.steps(ROOT)))), min(top_k, len(places)), score)
        for trie, places in zip(tries, lists, strict=True)
    ]
    reader, wave = _TreeReader(scorer), FIRST_WAVE
    rows = list(range(len(searches)))  # the question of each of the reader's rows
    while active := [row for row in rows if not searches[row].finished]:
        if len(active) <= len(rows) / 2:
            reader.select([rows.index(row) for row in active])
            rows = active
        for row in active:
            searches[row].choose(max(1, wave // len(active)))
        reader.read([searches[row] for row in rows])
        wave = min(2 * wave, LARGEST_WAVE)
    found = [
        [(places[index], value) for index, value in search.best] for search, places in zip(searches, lists, strict=True)
    ]
    return ranking_of(found, scorer.states.device)


class _Search:
    """Best-first search for one question.

    Attributes:
        best: Candidates and their scores, best first: the result so far.
        floor: The score of the last of the best candidates known, found or not yet: lower bounds are not followed.
        kept: Prefixes to be read in this wave, whose longer prefixes are read in later ones.
        passing: Prefixes to be read in this wave and forgotten.
        again: Those of them that were read before, for prefixes that go on from them.
        slots: Where keys and values of a prefix that was read, and of its beginnings, lie in the cache.
    """

    def __init__(self, trie: CandidateTrie, log_probs: list[float], top_k: int, score: str) -> None:
        self.trie, self.top_k, self.score = trie, top_k, score
        self.best: list[tuple[int, float]] = []
        # Minus the bound, a candidate, its sum so far, and the prefix that goes on; None where it is complete.
        self.frontier: list[tuple[float, int, float, int | None]] = []
        self.highest: list[float] = []  # a heap of the best scores of complete candidates
        self.floor = -inf
        self.kept, self.passing, self.again = [ROOT], [], set()
        self.sums = {ROOT: 0.0}
        self.slots = {ROOT: [0]}
        self.expand(log_probs)

    @property
    def finished(self) -> bool:
        return len(self.best) == self.top_k

    @property
    def chosen(self) -> list[int]:
        return self.kept + self.passing

    @property
    def asked(self) -> list[int]:
        """The chosen prefixes from which no step is known."""
        return [prefix for prefix in self.chosen if prefix not in self.again]

    def choose(self, room: int) -> None:
        """Choose so many prefixes to read next, those with the best bounds and what follows them."""
        complete = []
        while self.frontier and room > 0 and len(self.best) + len(complete) < self.top_k:
            _, _, total, prefix = entry = heapq.heappop(self.frontier)
            if prefix is None:
                complete.append(entry)
                continue
            forgotten = self._forgotten_beginnings(prefix)
            self.again.update(forgotten)
            self.passing.extend(forgotten)
            likely = self._likely_goes_on(prefix, total)
            branch = self.trie.branch(prefix, room if likely else 1)
            looked_back = likely and len(branch) < self.trie.sizes[prefix] and self.trie.parents[prefix] in self.slots
            (self.kept if looked_back else self.passing).extend(branch)
            self.sums[prefix] = total
            room -= len(forgotten) + len(branch)
        for entry in complete:
            heapq.heappush(self.frontier, entry)

    def _forgotten_beginnings(self, prefix: int) -> list[int]:
        """The beginnings of a prefix that are neither remembered nor read in this wave, shortest first."""
        forgotten: list[int] = []
        beginning = self.trie.parents[prefix]
        while beginning not in self.slots and beginning not in self.again:
            forgotten.insert(0, beginning)
            beginning = self.trie.parents[beginning]
        return forgotten

    def _likely_goes_on(self, prefix: int, total: float) -> bool:
        """Whether longer prefixes halfway to the longest candidate will be followed, if likelihood falls as it has."""
        depth, longest = self.trie.depths[prefix], self.trie.longest[prefix]
        return self._bound(total * (depth + longest) / (2 * depth), longest) >= self.floor

    def expand(self, log_probs: list[float]) -> None:
        """Go on from the prefixes that were asked, given the log-probability of every step from each, in order."""
        asked, values = self.asked, iter(log_probs)
        reading = set(asked)
        trie = self.trie
        for prefix in asked:
            length = trie.depths[prefix] + 1
            for step, value in zip(trie.steps(prefix), values):  # noqa: B905 - each prefix takes its share
                total, longer = self.sums[prefix] + value, trie.step_prefixes[step]
                for candidate in trie.complete(step):
                    self._push(total, self._bound(total, length), candidate, None)
                if longer in reading:
                    self.sums[longer] = total
                elif longer >= 0:
                    self._push(total, self._bound(total, trie.longest[longer]), trie.first[longer], longer)
        for prefix in self.passing:
            self.slots.pop(prefix)
        self.kept, self.passing, self.again, self.sums = [], [], set(), {}
        # Candidates that nothing can overtake are results.
        while not self.finished and self.frontier[0][3] is None:
            bound, candidate, _, _ = heapq.heappop(self.frontier)
            self.best.append((candidate, -bound))

    def _bound(self, total: float, length: int) -> float:
        return total / length if self.score == "mean" else total

    def _push(self, total: float, bound: float, candidate: int, prefix: int | None) -> None:
        if bound < self.floor:
            return
        heapq.heappush(self.frontier, (-bound, candidate, total, prefix))
        if prefix is None:
            heapq.heappush(self.highest, bound)
            if len(self.highest) > self.top_k:
                heapq.heappop(self.highest)
            if len(self.highest) == self.top_k:
                self.floor = self.highest[0]


class _TreeReader:
    """Reads prefixes of several questions in one pass of the decoder, each question's as a tree in a row of its own."""

    def __init__(self, scorer: AnswerScorer) -> None:
        self.scorer = scorer
        self.device = scorer.states.device
        # RoBERTa's positions begin after the one of padding.
        padding = getattr(scorer.decoder.base_model.embeddings, "padding_idx", None)
        self.first_position = 0 if padding is None else padding + 1

    def select(self, rows: list[int]) -> None:
        """Go on with these questions only."""
        self.scorer.select(torch.tensor(rows, device=self.device))

    def read(self, searches: list[_Search]) -> None:
        """Read what each search has chosen, and expand the searches by it; one that is finished has chosen nothing."""
        length = max(len(search.chosen) for search in searches)
        ids, positions, visible, asked = self._lay_out(searches, length)
        hidden = self.scorer.read_tree(ids, positions, visible)[asked.to(self.device)]
        # Branches read to their ends are never looked back at.
        self.scorer.forget(length - max(len(search.kept) for search in searches))
        steps = [search.trie.following(prefix) for search in searches for prefix in search.asked]
        values = self._step_log_probs(hidden, steps)
        for search in searches:
            if search.chosen:
                search.expand(list(islice(values, sum(len(search.trie.steps(prefix)) for prefix in search.asked))))

    def _lay_out(self, searches: list[_Search], length: int) -> tuple[torch.Tensor, ...]:
        """Arguments of `AnswerScorer.read_tree`, a row a search, and which of the (rows, length) tokens are asked."""
        past = self.scorer.cache.get_seq_length()
        ids = torch.zeros(len(searches), length, dtype=torch.long)
        positions, asked = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        visible = torch.zeros(len(searches), length, past + length, dtype=torch.bool)
        visible[:, :, ROOT] = True
        for row, search in enumerate(searches):
            chosen, trie = search.chosen, search.trie
            ids[row, : len(chosen)] = torch.tensor([trie.tokens[prefix] for prefix in chosen], dtype=torch.long)
            positions[row, : len(chosen)] = torch.tensor([trie.depths[prefix] for prefix in chosen])
            asked[row, : len(chosen)] = torch.tensor([prefix not in search.again for prefix in chosen])
            for column, prefix in enumerate(chosen):
                search.slots[prefix] = [*search.slots[trie.parents[prefix]], past + column]
            columns = [column for column, prefix in enumerate(chosen) for _ in search.slots[prefix]]
            visible[row, columns, [slot for prefix in chosen for slot in search.slots[prefix]]] = True
        return ids, positions + self.first_position, visible, asked

    def _step_log_probs(self, hidden: torch.Tensor, steps: Sequence[Sequence[int]]) -> Iterator[float]:
        """Log-probabilities of the tokens that may follow each of the decoder's states."""
        for start in range(0, len(steps), TOKENS_PER_HEAD_PASS):
            chunk = steps[start : start + TOKENS_PER_HEAD_PASS]
            places = [place for place, tokens in enumerate(chunk) for _ in tokens]
            tokens = [token for tokens in chunk for token in tokens]
            yield from self.scorer.token_log_probs(hidden[start : start + len(chunk)], places, tokens).tolist()
