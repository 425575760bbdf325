"""Ranking candidate answers by search: what `rank_exhaustively` returns, without reading what cannot win.

Candidates form a trie of tokens. A log-likelihood only falls along a path, so the sum so far bounds every candidate
below a prefix (divided by the longest of them for "mean"). Prefixes are read best bound first, in waves: one pass of
the decoder reads several prefixes of every unfinished question. All prefixes of a question lie in one row of that pass,
as a tree: each sees its own beginnings only. So [CLS], the question's image and every prefix read before are shared.

A pass costs about as much for few tokens as for one; waves begin that small and double. Where bounds exclude nothing,
as in an untrained model, the last waves read whole branches, and the trie is scored with each prefix read once.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import torch

from .answer_ranking_amif import AmifRankingOutput, AnswerScorer, ranking_of

FIRST_WAVE, LARGEST_WAVE = 32, 512  # tokens of a pass, over all questions
TOKENS_PER_HEAD_PASS = 256
ROOT = 0


class _Step(NamedTuple):
    """A token that may follow a prefix.

    Args:
        prefix: The longer prefix that it leads to; None where every candidate is complete.
        complete: Candidates that end with this token.
        length: Tokens up to this one.
        longest: Tokens of the longest candidate that goes on.
        first: The first in order of the candidates that go on.
    """

    prefix: int | None
    complete: tuple[int, ...]
    length: int
    longest: int
    first: int


class CandidateTrie:
    """The prefixes of all candidates, numbered depth first: a branch is a range. Number 0 is the empty prefix.

    Args:
        candidates: Token ids after [CLS] of each candidate, the closing token included.

    Attributes:
        tokens: The last token of each prefix.
        depths: The number of tokens of each prefix.
        parents: The prefix without its last token.
        sizes: Prefixes in the branch that begins with each, itself included.
        steps: What may follow each prefix.
        step_tokens: The tokens of `steps`.
    """

    def __init__(self, candidates: Sequence[tuple[int, ...]]) -> None:
        complete, longest, first = defaultdict(list), {}, {}
        for index, path in enumerate(candidates):
            complete[path].append(index)
            for length in range(1, len(path)):
                prefix = path[:length]
                first.setdefault(prefix, index)
                longest[prefix] = max(longest.get(prefix, 0), len(path))
        prefixes = [(), *sorted(longest)]  # tuples sort depth first
        numbers = {prefix: number for number, prefix in enumerate(prefixes)}
        self.tokens = [prefix[-1] if prefix else 0 for prefix in prefixes]
        self.depths = [len(prefix) for prefix in prefixes]
        self.parents = [numbers[prefix[:-1]] for prefix in prefixes]
        self.sizes = [1] * len(prefixes)
        for number in range(len(prefixes) - 1, ROOT, -1):
            self.sizes[self.parents[number]] += self.sizes[number]
        self.steps: list[list[_Step]] = [[] for _ in prefixes]
        self.step_tokens: list[list[int]] = [[] for _ in prefixes]
        for path in longest | complete:
            ended = tuple(complete.get(path, ()))
            step = _Step(numbers.get(path), ended, len(path), longest.get(path, 0), first.get(path, -1))
            self.steps[numbers[path[:-1]]].append(step)
            self.step_tokens[numbers[path[:-1]]].append(path[-1])

    def branch(self, prefix: int, room: int) -> range:
        """The whole branch that begins with a prefix, where there is room for it; else as far as it has one way on."""
        if self.sizes[prefix] <= room:
            return range(prefix, prefix + self.sizes[prefix])
        last = prefix
        while last - prefix + 1 < room and self.sizes[last + 1] == self.sizes[last] - 1:
            last += 1
        return range(prefix, last + 1)


# A data set's questions are ranked batch by batch over the same candidates.
_trie_of = lru_cache(maxsize=4)(CandidateTrie)


def rank_by_search(
    scorer: AnswerScorer,
    candidates: list[list[int]],
    top_k: int,
    score: str,
    own: Sequence[Sequence[int]] | None = None,
) -> AmifRankingOutput:
    """The result of `rank_exhaustively`; arguments as there.

    Scores agree to rounding. Candidates whose scores differ by less than the rounding of the decoder's number format
    (about 1e-6 in float32, 0.05 in bfloat16) may change places.
    """
    paths = list(map(tuple, candidates))
    lists = own or [range(len(paths))] * len(scorer.states)
    tries = [_trie_of(tuple(paths[place] for place in places)) for places in own or lists[:1]]
    tries = tries if own else tries * len(lists)
    steps = [(row, token) for row, trie in enumerate(tries) for token in trie.step_tokens[ROOT]]
    roots = iter(scorer.first_log_probs[[row for row, _ in steps], [token for _, token in steps]].tolist())
    searches = [
        _Search(trie, list(islice(roots, len(trie.step_tokens[ROOT]))), min(top_k, len(places)), score)
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
        kept: Prefixes to be read in this wave, whose longer prefixes are read in later ones.
        passing: Prefixes to be read in this wave with all that follows them.
        slots: Where keys and values of a prefix that was read, and of its beginnings, lie in the cache.
    """

    def __init__(self, trie: CandidateTrie, log_probs: list[float], top_k: int, score: str) -> None:
        self.trie, self.top_k, self.score = trie, top_k, score
        self.best: list[tuple[int, float]] = []
        # Minus the bound, a candidate, its sum so far, and the prefix that goes on; None where it is complete.
        self.frontier: list[tuple[float, int, float, int | None]] = []
        self.kept, self.passing = [ROOT], []
        self.sums = {ROOT: 0.0}
        self.slots = {ROOT: [0]}
        self.expand(log_probs)

    @property
    def finished(self) -> bool:
        return len(self.best) == self.top_k

    @property
    def chosen(self) -> list[int]:
        return self.kept + self.passing

    def choose(self, room: int) -> None:
        """Choose so many prefixes to read next, those with the best bounds and what follows them."""
        complete = []
        while self.frontier and room > 0 and len(self.best) + len(complete) < self.top_k:
            _, _, total, prefix = entry = heapq.heappop(self.frontier)
            if prefix is None:
                complete.append(entry)
                continue
            branch = self.trie.branch(prefix, room)
            (self.passing if len(branch) == self.trie.sizes[prefix] else self.kept).extend(branch)
            self.sums[prefix] = total
            room -= len(branch)
        for entry in complete:
            heapq.heappush(self.frontier, entry)

    def expand(self, log_probs: list[float]) -> None:
        """Go on from the chosen prefixes, given the log-probability of every step from each, in their order."""
        chosen, values = self.chosen, iter(log_probs)
        reading = set(chosen)
        for prefix in chosen:
            for step, value in zip(self.trie.steps[prefix], values):  # noqa: B905 - each prefix takes its share
                total = self.sums[prefix] + value
                for candidate in step.complete:
                    self._push(total, step.length, candidate, None)
                if step.prefix in reading:
                    self.sums[step.prefix] = total
                elif step.prefix is not None:
                    self._push(total, step.longest, step.first, step.prefix)
        for prefix in self.passing:
            self.slots.pop(prefix)
        self.kept, self.passing, self.sums = [], [], {}
        # Candidates that nothing can overtake are results.
        while not self.finished and self.frontier[0][3] is None:
            bound, candidate, _, _ = heapq.heappop(self.frontier)
            self.best.append((candidate, -bound))

    def _push(self, total: float, length: int, candidate: int, prefix: int | None) -> None:
        bound = total / length if self.score == "mean" else total
        heapq.heappush(self.frontier, (-bound, candidate, total, prefix))


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
        ids, positions, visible, valid = self._lay_out(searches, length)
        hidden = self.scorer.read_tree(ids, positions, visible)[valid.to(self.device)]
        # Branches read to their ends are never looked back at.
        self.scorer.forget(length - max(len(search.kept) for search in searches))
        steps = [search.trie.step_tokens[prefix] for search in searches for prefix in search.chosen]
        values = self._step_log_probs(hidden, steps)
        for search in searches:
            if search.chosen:
                search.expand(list(islice(values, sum(len(search.trie.steps[prefix]) for prefix in search.chosen))))

    def _lay_out(self, searches: list[_Search], length: int) -> tuple[torch.Tensor, ...]:
        """Arguments of `AnswerScorer.read_tree`, a row a search, and which of the (rows, length) tokens are read."""
        past = self.scorer.cache.get_seq_length()
        ids = torch.zeros(len(searches), length, dtype=torch.long)
        positions, valid = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        visible = torch.zeros(len(searches), length, past + length, dtype=torch.bool)
        visible[:, :, ROOT] = True
        for row, search in enumerate(searches):
            chosen, trie = search.chosen, search.trie
            ids[row, : len(chosen)] = torch.tensor([trie.tokens[prefix] for prefix in chosen], dtype=torch.long)
            positions[row, : len(chosen)] = torch.tensor([trie.depths[prefix] for prefix in chosen])
            valid[row, : len(chosen)] = True
            for column, prefix in enumerate(chosen):
                search.slots[prefix] = [*search.slots[trie.parents[prefix]], past + column]
            columns = [column for column, prefix in enumerate(chosen) for _ in search.slots[prefix]]
            visible[row, columns, [slot for prefix in chosen for slot in search.slots[prefix]]] = True
        return ids, positions + self.first_position, visible, valid

    def _step_log_probs(self, hidden: torch.Tensor, steps: Sequence[Sequence[int]]) -> Iterator[float]:
        """Log-probabilities of the tokens that may follow each of the decoder's states."""
        for start in range(0, len(steps), TOKENS_PER_HEAD_PASS):
            chunk = steps[start : start + TOKENS_PER_HEAD_PASS]
            rows = [row for row, tokens in enumerate(chunk) for _ in tokens]
            log_probs = self.scorer.log_probs(hidden[start : start + TOKENS_PER_HEAD_PASS])
            yield from log_probs[rows, [token for tokens in chunk for token in tokens]].tolist()
