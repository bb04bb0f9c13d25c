"""The CRF against enumeration, autograd and pytorch-crf."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchcrf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ner.corpus.scheme import Transitions, allowed_transitions, labels_of
from ner.model.crf import CRF, WIDEST
from ner.model.packing import Packing, packing
from tests.reference import crf_brute
from training.errors import ConfigError, DataError


def make(
    seed: int, labels: int, lengths: list[int], density: float, spread: float, whole: bool = False
) -> tuple[CRF, Tensor, list[crf_brute.Chain]]:
    """A CRF in float64 in which each sentence has an allowed sequence, scores (N, L), and the chains of its sentences."""
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> npt.NDArray[np.float64]:
        drawn = rng.uniform(-spread, spread, shape)
        return np.round(drawn) if whole else drawn

    masks = Transitions(rng.random(labels) < density, rng.random((labels, labels)) < density, rng.random(labels) < density)
    loop = int(rng.integers(labels))  # a label that may stand everywhere, like O
    masks.start[loop] = masks.end[loop] = masks.pairs[loop, loop] = True
    crf = CRF(labels, masks, seed=0).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.from_numpy(values(*parameter.shape)))
    scores = torch.from_numpy(values(sum(lengths), labels))
    blocked = [
        np.where(mask, parameter.detach().numpy(), -math.inf).tolist()
        for mask, parameter in zip(masks, (crf.start_transitions, crf.transitions, crf.end_transitions), strict=True)
    ]
    chains = [crf_brute.Chain(part.tolist(), *blocked) for part in torch.split(scores, lengths) if len(part)]
    return crf, scores, chains


@st.composite
def cases(draw: st.DrawFn, whole: bool = False) -> tuple[CRF, Tensor, list[crf_brute.Chain], list[int]]:
    lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=7).filter(any))
    spread = draw(st.sampled_from((1.0, 3.0) if whole else (0.5, 5.0, 60.0, 2000.0)))
    density = draw(st.sampled_from((0.3, 0.7, 1.0)))
    return *make(draw(st.integers(0, 2**31)), draw(st.integers(1, 4)), lengths, density, spread, whole), lengths


def some_gold(chains: list[crf_brute.Chain], seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    paths = [crf_brute.every(chain) for chain in chains]
    return torch.tensor([label for each in paths for label in each[rng.integers(len(each))]])


@settings(deadline=None, max_examples=120)
@given(cases(), st.integers(0, 9))
def test_likelihood_and_marginals_are_those_of_enumeration(
    case: tuple[CRF, Tensor, list[crf_brute.Chain], list[int]], seed: int
) -> None:
    crf, scores, chains, lengths = case
    plan = packing(torch.tensor(lengths))
    gold = some_gold(chains, seed)
    parts = torch.split(gold, [len(chain.scores) for chain in chains])
    wanted = [crf_brute.score(c, part.tolist()) - crf_brute.log_partition(c) for c, part in zip(chains, parts, strict=True)]
    got = crf.log_likelihood(scores, gold, plan)
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64), rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(crf.loss(scores, gold, plan), -got.sum())
    table = torch.tensor([row for chain in chains for row in crf_brute.marginals(chain)], dtype=torch.float64)
    torch.testing.assert_close(crf.marginals(scores, plan), table, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=120)
@given(cases(whole=True), st.booleans())
def test_decoding_finds_the_best_sequence_and_breaks_ties_by_the_lowest_labels(
    case: tuple[CRF, Tensor, list[crf_brute.Chain], list[int]], single: bool
) -> None:
    crf, scores, chains, lengths = case
    if single:
        crf, scores = crf.float(), scores.float()
    decoded = crf.decode(scores, packing(torch.tensor(lengths)))
    assert decoded.dtype == torch.int64
    assert decoded.tolist() == [label for chain in chains for label in crf_brute.best(chain)]


@settings(deadline=None, max_examples=60)
@given(cases(), st.integers(0, 9))
def test_decoding_of_any_scores_is_the_best_sequence(
    case: tuple[CRF, Tensor, list[crf_brute.Chain], list[int]], seed: int
) -> None:
    crf, scores, chains, lengths = case
    decoded = crf.decode(scores, packing(torch.tensor(lengths)))
    for chain, part in zip(chains, torch.split(decoded, [len(c.scores) for c in chains]), strict=True):
        assert crf_brute.score(chain, part.tolist()) >= crf_brute.score(chain, crf_brute.best(chain)) - 1e-9


class Likelihood(torch.nn.Module):
    """The log-likelihood as a forward, for functional_call."""

    def __init__(self, crf: CRF) -> None:
        super().__init__()
        self.crf = crf

    def forward(self, scores: Tensor, gold: Tensor, plan: Packing) -> Tensor:
        return self.crf.log_likelihood(scores, gold, plan)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wide", [0.0, 300.0])  # the quick recursion, and the plain one
@pytest.mark.parametrize("density", [0.6, 1.0])
def test_gradients_are_right(density: float, wide: float, seed: int) -> None:
    lengths = [3, 0, 1, 2, 3]
    crf, scores, chains = make(seed, 3, lengths, density, 2.0)
    scores[0, 0] += wide
    assert (crf._every(scores) > 0) == (wide == 0 and math.isfinite(crf._steps_to_mix))
    gold, plan = some_gold(chains, seed), packing(torch.tensor(lengths))
    names = [f"crf.{name}" for name, _ in crf.named_parameters()]
    module = Likelihood(crf)

    def each(scores: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        result: Tensor = torch.func.functional_call(module, parameters, (scores, gold, plan))
        return result

    inputs = (scores.requires_grad_(), *(p.detach().clone().requires_grad_() for p in crf.parameters()))
    assert torch.autograd.gradcheck(each, inputs, eps=1e-5, atol=1e-6)


def conll(lengths: list[int], scheme: str = "IOBES", dtype: torch.dtype = torch.float32) -> tuple[CRF, Tensor, Tensor]:
    """A CRF over CoNLL-2003's labels, with scores that are those of a net that has learned something, and allowed labels."""
    names = labels_of(["LOC", "MISC", "ORG", "PER"], scheme)
    crf = CRF(len(names), allowed_transitions(names, scheme), seed=1).to(dtype)
    generator = torch.Generator().manual_seed(sum(lengths))
    scores = torch.randn(sum(lengths), len(names), generator=generator, dtype=dtype) * 3
    other = torch.randn(scores.shape, generator=generator, dtype=dtype)
    return crf, scores, crf.decode(other, packing(torch.tensor(lengths)))


LENGTHS = [14, 3, 40, 1, 22, 9, 9, 60, 2, 17, 31, 5]


@pytest.mark.parametrize("scale", ["trained", "widest"])
@pytest.mark.parametrize("scheme", ["IOBES", "IOB2"])
def test_both_recursions_agree_in_value_and_gradient(scheme: str, scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    crf, scores, gold = conll(LENGTHS, scheme, torch.float64)
    plan = packing(torch.tensor(LENGTHS))
    if scale == "widest":  # every label at either end of what the quick recursion takes
        scores = torch.where(scores > 0, WIDEST / (crf._steps_to_mix + 3) - 3.1, 0.0)
    every = crf._every(scores)
    assert every == (1 if scale == "widest" else 4)
    assert crf._every(scores * 50) == 0
    results = []
    for used in (every, 0):
        monkeypatch.setattr(crf, "_every", lambda _, used=used: used)
        crf.zero_grad()
        leaf = scores.clone().requires_grad_()
        loss = crf.loss(leaf, gold, plan)
        loss.backward()
        results.append([loss.detach(), leaf.grad, *(p.grad for p in crf.parameters()), crf.marginals(scores, plan)])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_forbidden_transitions_have_no_gradient_and_no_probability() -> None:
    for scheme in ("IOBES", "IOB2"):
        crf, scores, gold = conll(LENGTHS, scheme)
        plan = packing(torch.tensor(LENGTHS))
        crf.loss(scores, gold, plan).backward()
        for name, mask in (("transitions", "_pairs"), ("start_transitions", "_start"), ("end_transitions", "_end")):
            grad = crf.get_parameter(name).grad
            assert grad is not None
            assert grad.isfinite().all()
            assert (grad[~crf.get_buffer(mask)] == 0).all()
            assert (grad[crf.get_buffer(mask)] != 0).any()
        starts = torch.tensor([0, *LENGTHS]).cumsum(0)[:-1]
        assert (crf.marginals(scores, plan)[starts][:, ~crf.get_buffer("_start")] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_all_is_allowed_it_is_pytorch_crf(dtype: torch.dtype) -> None:
    crf = CRF(17, seed=3).to(dtype)
    theirs = torchcrf.CRF(17).to(dtype)
    theirs.load_state_dict(crf.state_dict())
    lengths = torch.tensor(sorted(LENGTHS, reverse=True))
    scores = torch.randn(int(lengths.sum()), 17, generator=torch.Generator().manual_seed(4), dtype=dtype) * 3
    gold = torch.randint(17, (len(scores),), generator=torch.Generator().manual_seed(5))
    padded = torch.nn.utils.rnn.pad_sequence(list(torch.split(scores, lengths.tolist()))).requires_grad_()
    labels = torch.nn.utils.rnn.pad_sequence(list(torch.split(gold, lengths.tolist())))
    mask = torch.arange(len(padded))[:, None] < lengths
    leaf = scores.clone().requires_grad_()
    ours, wanted = crf.loss(leaf, gold, packing(lengths)), -theirs(padded, labels, mask=mask)
    ours.backward()
    wanted.backward()
    rtol, atol = (1e-5, 1e-4) if dtype == torch.float32 else (1e-12, 1e-10)
    torch.testing.assert_close(ours, wanted, rtol=rtol, atol=atol)
    assert padded.grad is not None
    torch.testing.assert_close(leaf.grad, padded.grad.transpose(0, 1)[mask.T], rtol=rtol, atol=atol)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(crf.get_parameter(name).grad, parameter.grad, rtol=rtol, atol=atol)
    decoded = [label for path in theirs.decode(padded, mask=mask) for label in path]
    assert crf.decode(scores, packing(lengths)).tolist() == decoded


def test_span_confidence_is_that_of_enumeration() -> None:
    names = labels_of(["X", "Y"], "IOB2")  # O B-X I-X B-Y I-Y
    crf = CRF(5, allowed_transitions(names, "IOB2"), seed=2).double()
    lengths = [4, 2, 1]
    scores = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([1, 2, 0, 3, 3, 4, 1])
    spans = [(0, 2), (3, 4), (4, 6), (6, 7), (0, 1)]
    continues = torch.zeros(5, 5, dtype=torch.bool)
    continues[[1, 2, 3, 4], [2, 2, 4, 4]] = True
    starts, ends = (torch.tensor(each) for each in zip(*spans, strict=True))
    got = crf.span_confidence(scores, packing(torch.tensor(lengths)), labels, starts, ends, continues)
    parts = crf._masked(torch.float64)
    pairs, start, end = (part.tolist() for part in parts)
    chains = [crf_brute.Chain(part.tolist(), start, pairs, end) for part in torch.split(scores, lengths)]
    anything = set(range(5))
    wanted = []
    for chain, offset, (first, last) in ((chains[i], (0, 4, 6)[i], s) for i, s in zip((0, 0, 1, 2, 0), spans, strict=True)):
        sets = [anything] * len(chain.scores)
        for n in range(first, last):
            sets[n - offset] = {int(labels[n])}
        if last - offset < len(sets):
            sets[last - offset] = anything - {j for j in anything if continues[labels[last - 1], j]}
        wanted.append(crf_brute.probability(chain, sets))
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64))
    empty = torch.zeros(0, dtype=torch.int64)
    assert crf.span_confidence(scores, packing(torch.tensor(lengths)), labels, empty, empty).shape == (0,)


def test_a_single_labeling_of_a_span_needs_no_end_rule() -> None:
    crf, scores, _ = conll(LENGTHS)
    plan = packing(torch.tensor(LENGTHS))
    labels, every = crf.decode(scores, plan), torch.arange(sum(LENGTHS))
    singles = crf.span_confidence(scores, plan, labels, every, every + 1)
    torch.testing.assert_close(singles, crf.marginals(scores, plan).gather(1, labels[:, None])[:, 0])


def test_same_bits_for_any_number_of_threads_and_in_any_batch() -> None:
    lengths = [1 + (7 * i * i) % 53 for i in range(128)]
    crf, scores, gold = conll(lengths)
    plan = packing(torch.tensor(lengths))
    results = []
    for threads in (1, 2, 4, 1):
        torch.set_num_threads(threads)
        crf.zero_grad()
        leaf = scores.clone().requires_grad_()
        loss = crf.loss(leaf, gold, plan)
        loss.backward()
        assert leaf.grad is not None
        grads = [p.grad for p in crf.parameters()]
        results.append([loss.detach(), leaf.grad, *grads, crf.decode(scores, plan), crf.marginals(scores, plan)])
    torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))  # type: ignore[arg-type]
    together = crf.log_likelihood(scores, gold, plan)
    start = 0
    for i, length in enumerate(lengths[:20]):
        part, alone = slice(start, start + length), packing(torch.tensor([length]))
        assert torch.equal(crf.log_likelihood(scores[part], gold[part], alone)[0], together[i])
        assert torch.equal(crf.decode(scores[part], alone), results[0][-2][part])  # type: ignore[index]
        assert torch.equal(crf.marginals(scores[part], alone), results[0][-1][part])  # type: ignore[index]
        start += length


def test_scores_far_apart_give_finite_losses() -> None:
    crf, scores, gold = conll(LENGTHS)
    leaf = (scores * 1e4).requires_grad_()
    loss = crf.loss(leaf, gold, packing(torch.tensor(LENGTHS)))
    loss.backward()
    assert loss.isfinite()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert crf.loss(scores * math.nan, gold, packing(torch.tensor(LENGTHS))).isnan()


def test_no_tokens() -> None:
    crf, plan = CRF(5, seed=0), packing(torch.tensor([0, 0]))
    scores, none = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    assert crf.loss(scores, none, plan) == 0
    assert crf.log_likelihood(scores, none, plan).shape == crf.decode(scores, plan).shape == (0,)
    assert crf.marginals(scores, plan).shape == (0, 5)


def test_without_an_allowed_sequence_the_fewest_violations_are_decoded() -> None:
    """Begin with 0, end with 1, and change at each step: two words can, one cannot, and gets the lowest label."""
    crf = CRF(2, Transitions(np.array([True, False]), ~np.eye(2, dtype=np.bool_), np.array([False, True])), seed=0)
    scores = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
    decoded = crf.decode(scores, packing(torch.tensor([2, 1, 1])))
    assert decoded.tolist() == [0, 1, 0, 0]
    with pytest.raises(DataError, match=r"label 0 is not allowed .*at a sentence's end \(token 2"):
        crf.loss(scores, decoded, packing(torch.tensor([2, 1, 1])))


def test_initial_values_are_a_function_of_the_seed() -> None:
    one, same, other = CRF(5, seed=7), CRF(5, seed=7), CRF(5, seed=8)
    assert all(torch.equal(one.state_dict()[name], same.state_dict()[name]) for name in one.state_dict())
    assert not torch.equal(one.transitions, other.transitions)
    assert one.transitions.abs().max() <= 0.1


def test_bad_input_is_named() -> None:
    crf, scores, _ = conll([3, 2])
    plan = packing(torch.tensor([3, 2]))
    for labels, what in (
        ([0, 2, 0, 0, 0], r"label 2 is not allowed after label 0 \(token 1 of the batch"),
        ([0, 0, 0, 2, 0], r"label 2 is not allowed at a sentence's beginning \(token 3"),
        ([0, 0, 0, 0, 1], r"label 1 is not allowed after label 0 and at a sentence's end \(token 4"),
        ([0, 0, 0, 0, 17], "labels: expected 0 to 16, got 0 to 17"),
        ([0, 0, 0, 0, -1], "labels: expected 0 to 16, got -1 to 0"),
        ([0, 0], r"labels: expected int64 of shape \(5,\)"),
    ):
        with pytest.raises(DataError, match=what):
            crf.loss(scores, torch.tensor(labels), plan)
    with pytest.raises(DataError, match=r"scores: expected shape \(5, 17\), got \(4, 17\)"):
        crf.decode(scores[:4], plan)
    all_true = np.ones((3, 3), np.bool_)
    with pytest.raises(ConfigError, match=r"allowed start: expected a boolean array \(2,\)"):
        CRF(2, Transitions(all_true[0], all_true, all_true[0]), seed=0)
    with pytest.raises(ConfigError, match=r"allowed end: .* got none allowed"):
        CRF(3, Transitions(all_true[0], all_true, ~all_true[0]), seed=0)


@settings(deadline=None, max_examples=80)
@given(cases(), st.integers(0, 9))
def test_cross_entropy_is_that_of_enumeration(case: tuple[CRF, Tensor, list[crf_brute.Chain], list[int]], seed: int) -> None:
    """With any mixture of two distributions over the allowed sequences: one at random, and one of a single sequence."""
    crf, scores, chains, lengths = case
    plan = packing(torch.tensor(lengths))
    rng = np.random.default_rng(seed)
    share = float(rng.choice([0.0, 0.3, 1.0]))
    wanted, tokens, moves = 0.0, torch.zeros_like(scores), torch.zeros(crf.labels, crf.labels, dtype=torch.float64)
    at = 0
    for chain in chains:
        paths = crf_brute.every(chain)
        drawn = rng.dirichlet(np.ones(len(paths))) * share
        drawn[rng.integers(len(paths))] += 1 - share
        weights = dict(zip(paths, drawn.tolist(), strict=True))
        wanted += crf_brute.cross_entropy(chain, weights)
        for labels, weight in weights.items():
            tokens[torch.arange(at, at + len(labels)), list(labels)] += weight
        for (i, j), count in crf_brute.pair_counts(weights).items():
            moves[i, j] += count
        at += len(chain.scores)
    got = crf.cross_entropy(scores, tokens, moves[tuple(crf.pairs.T)], plan)
    assert got.item() == pytest.approx(wanted, rel=1e-9, abs=1e-7)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_expectations_are_those_of_enumeration(case: tuple[CRF, Tensor, list[crf_brute.Chain], list[int]]) -> None:
    crf, scores, chains, lengths = case
    tokens, moves = crf.expectations(scores, packing(torch.tensor(lengths)))
    table = torch.tensor([row for chain in chains for row in crf_brute.marginals(chain)], dtype=torch.float64)
    torch.testing.assert_close(tokens, table, rtol=1e-8, atol=1e-10)
    assert moves.shape == (len(lengths), len(crf.pairs))
    rest = iter(chains)
    for length, row in zip(lengths, moves.tolist(), strict=True):
        counts = crf_brute.pair_counts(crf_brute.distribution(next(rest))) if length else {}
        wanted = [counts.get((i, j), 0.0) for i, j in crf.pairs.tolist()]
        assert row == pytest.approx(wanted, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("spread", [1.0, 2000.0])
def test_gradients_of_the_cross_entropy_are_its_differences(spread: float) -> None:
    """In the quick recursion and, with scores that it cannot hold, in the plain one."""
    lengths = [3, 1, 0, 4]
    other, other_scores, _ = make(1, 3, lengths, 0.7, 1.0)
    crf, scores, _ = make(1, 3, lengths, 0.7, spread)  # with the same mask
    plan = packing(torch.tensor(lengths))
    tokens, moves = other.expectations(other_scores, plan)
    assert bool(crf._every(scores)) == (spread < 10)
    scores.requires_grad_()

    def loss(scores: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(  # type: ignore[no-any-return]
            _CrossEntropy(crf), dict(zip(NAMES, parameters, strict=True)), (scores, tokens, moves.sum(0), plan)
        )

    given_parameters = [dict(crf.named_parameters())[name.removeprefix("crf.")] for name in NAMES]
    assert torch.autograd.gradcheck(loss, (scores, *given_parameters), eps=1e-6 * max(1.0, spread / 100), atol=1e-5)


NAMES = ("crf.transitions", "crf.start_transitions", "crf.end_transitions")


class _CrossEntropy(torch.nn.Module):
    def __init__(self, crf: CRF) -> None:
        super().__init__()
        self.crf = crf

    def forward(self, scores: Tensor, tokens: Tensor, moves: Tensor, plan: Packing) -> Tensor:
        return self.crf.cross_entropy(scores, tokens, moves, plan)


def test_cross_entropy_with_one_sequence_is_its_likelihood() -> None:
    lengths = [3, 1, 0, 4]
    crf, scores, chains = make(5, 4, lengths, 0.7, 3.0)
    plan, gold = packing(torch.tensor(lengths)), some_gold(chains, 0)
    tokens = torch.nn.functional.one_hot(gold, 4).double()
    moves = torch.zeros(4, 4, dtype=torch.float64)
    for part in torch.split(gold, lengths):
        for i, j in zip(part[:-1].tolist(), part[1:].tolist(), strict=True):
            moves[i, j] += 1
    one = crf.cross_entropy(scores, tokens, moves[tuple(crf.pairs.T)], plan)
    torch.testing.assert_close(one, crf.loss(scores, gold, plan))
    one.backward()
    soft = [parameter.grad for parameter in crf.parameters()]
    crf.zero_grad()
    crf.loss(scores, gold, plan).backward()
    for gradient, parameter in zip(soft, crf.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)
