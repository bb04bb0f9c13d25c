"""bf16-mixed: which products are bfloat16 and which stay as they are, as docs/tagger.md says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.model import matmul
from tests.ner.small_tagger import SENTENCES, saved
from training.loop.device import precision

PRODUCTS = ("mm", "bmm", "addmm", "_linear_pointwise", "mkldnn_rnn_layer", "convolution")


class Products(TorchDispatchMode):
    """The types that products are computed in, by the part of the network that makes them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part, self.types = "other", dict[str, set[torch.dtype]]()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            first = result[0] if isinstance(result, tuple | list) else result
            self.types.setdefault(self.part, set()).add(first.dtype)
        return result

    def watch(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            before, self.part = self.part, part
            result = method(*arguments)
            self.part = before
            return result

        return watched


@pytest.mark.parametrize("onednn", [True, False], ids=["oneDNN", "portable"])
def test_what_is_computed_in_bfloat16(onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if onednn and not matmul._onednn():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(matmul, "_onednn", lambda: onednn)  # --portable goes without
    parts = saved(3, decoder="crf", mentions=True, features_dim=4)
    model = parts.model()
    batch = SentenceBatches(encode_labeled(SENTENCES, parts.indexer, parts.config), batch_size=4).plan(0)[0]
    seen = Products()
    assert model.characters is not None
    for part, module in (("lstm", model.lstm), ("characters", model.characters), ("linear", model.linear)):
        monkeypatch.setattr(module, "forward", seen.watch(part, module.forward))
    with precision("bf16-mixed", torch.device("cpu")), seen:
        scores = model(batch)
        seen.part = "CRF"
        loss, marginals = model.loss(scores, batch), model.marginals(scores, batch)
    assert seen.types.pop("CRF") <= {torch.float32, torch.float64}
    assert seen.types == {
        "characters": {torch.bfloat16},
        "lstm": {torch.float32} if onednn else {torch.bfloat16},
        "linear": {torch.bfloat16},
    }
    assert loss.dtype == marginals.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float32}
