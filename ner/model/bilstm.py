"""A bidirectional LSTM over the sentences of a batch, without padding.

Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; both directions as in Graves & Schmidhuber 2005.
Parameters have the names, shapes and gate order (i, f, g, o) of ``torch.nn.LSTM``, so its state_dict loads as it is.

Two implementations give the same numbers up to rounding: bilstm_onednn, which is oneDNN's LSTM, where the CPU has AVX-512
or AVX2 and numbers are float32; bilstm_steps everywhere else. By either, a sentence gets the same bits alone and in any
batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ner.model import bilstm_onednn as lstm_rows
from ner.model.bilstm_onednn import FusedLSTM
from ner.model.bilstm_steps import StepwiseLSTM
from ner.model.packing import Packing, packing
from training.errors import DataError
from training.randomness import uniform


class BiLSTM(nn.Module):
    """One bidirectional layer with the parameters of ``nn.LSTM(input_size, hidden_size, bidirectional=True)``.

    Initial weights are uniform in ±1/sqrt(hidden_size), as in nn.LSTM, from (seed, "init/<name>.<parameter>").

    Args:
        input_size: numbers of a token, D.
        hidden_size: units per direction, H.
        seed: the seed of the initial weights.
        name: distinguishes this layer's weights from another's with the same seed.

    Source: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000; Graves & Schmidhuber 2005.

    Example:
        >>> from ner import BiLSTM
        >>> import torch
        >>> lstm = BiLSTM(4, 3, seed=0)
        >>> tokens = torch.arange(20.0).reshape(5, 4)
        >>> together = lstm(tokens, torch.tensor([2, 3]))  # a sentence of two tokens, and one of three
        >>> together.shape
        torch.Size([5, 6])
        >>> torch.equal(together[:2], lstm(tokens[:2], torch.tensor([2])))  # alone and in any batch
        True
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter
    weight_ih_l0_reverse: nn.Parameter
    weight_hh_l0_reverse: nn.Parameter
    bias_ih_l0_reverse: nn.Parameter
    bias_hh_l0_reverse: nn.Parameter

    def __init__(self, input_size: int, hidden_size: int, *, seed: int, name: str = "lstm") -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        bound = hidden_size**-0.5
        inner = {"weight_ih": (input_size,), "weight_hh": (hidden_size,), "bias_ih": (), "bias_hh": ()}
        for suffix in ("l0", "l0_reverse"):
            for kind, shape in inner.items():
                values = uniform((4 * hidden_size, *shape), -bound, bound, seed, f"init/{name}.{kind}_{suffix}")
                self.register_parameter(f"{kind}_{suffix}", nn.Parameter(values))

    def forward(self, tokens: Tensor, lengths: Tensor | Packing) -> Tensor:
        """The states of each token.

        Args:
            tokens: (N, D), all of sentence 0, then of sentence 1, and so on.
            lengths: those of the sentences (B,), or the packing that was made of them.

        Returns:
            (N, 2H), in the same order: a token's forward state beside its reverse state.

        Raises:
            DataError: the lengths do not sum to N, or the tokens have not D numbers.
        """
        plan = (packing(lengths) if isinstance(lengths, Tensor) else lengths).to(tokens.device)
        wanted = plan.number, self.input_size
        if tuple(tokens.shape) != wanted:
            raise DataError(f"tokens: expected shape {wanted}, got {tuple(tokens.shape)}")
        if not plan.number:
            return tokens.new_zeros(0, 2 * self.hidden_size)
        lstm = FusedLSTM if lstm_rows.serves(tokens) else StepwiseLSTM
        keep = torch.is_grad_enabled()
        result: Tensor = lstm.apply(tokens, plan, keep, *self.parameters())  # type: ignore[no-untyped-call]
        return result
