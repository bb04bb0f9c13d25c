"""A user's program that asks for a portable run, of layers and functions of many kinds."""

from training.determinism import portable

portable.begin()

import torch  # noqa: E402
from torch import Tensor, library, nn  # noqa: E402

from training import FixedBatches, Task, TrainConfig, Trainer, experiment  # noqa: E402


@library.custom_op("of_a_program::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operation that is not torch's."""
    return 2 * x


class Many(Task):
    """Images (B, 1, 8, 8) through convolutions, attention, a recurrent layer, and functions that MKL has, too."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.GELU(), nn.Flatten(2))
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.recurrent = nn.LSTM(16, 16, batch_first=True)
        self.out = torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.Sigmoid()))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        hidden, _ = self.recurrent(self.attention(self.features(batch).mT))
        out = self.out(hidden[:, -1])
        twice(out.detach())
        distance = torch.cdist(out, out.roll(1, 0)).square().mean()
        turned = (0.9 * out).asin().mean() + out.atan().mean() + (out.double() + 0.1).log10().mean().float()
        loss: Tensor = distance + turned + (out + 0.1).pow(0.5).mean() + out.std()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


if __name__ == "__main__":
    batches = FixedBatches(list(torch.randn(3, 32, 1, 8, 8, generator=torch.Generator().manual_seed(1))))
    config = TrainConfig(max_epochs=1, portable=True, log_every_n_steps=1, progress=False)
    with experiment("many", config) as run:
        Trainer(run).fit(Many(), batches)
