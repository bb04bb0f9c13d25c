"""What TensorBoard shows of a run: the only door to it."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from training.files import cut, inside, open_inside
from training.visible import encodable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "events.out.tfevents.*"
"""TensorBoard's files."""
DIGITS = 10  # of the second in the name of a file of TensorBoard's


def load() -> None:
    """Import TensorBoard now: that takes as long as many steps, so it should not happen within one."""
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401


class Board:
    """TensorBoard's files in a folder. Nothing is written, and TensorBoard not imported, before something is shown.

    ``options`` are for torch's SummaryWriter.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.options = path, options
        self._writer: SummaryWriter | None = None
        self._descriptor: int | None = None
        self._purge_step: int | None = None
        """From which step on the next file hides what others hold."""

    # -- pages --------------------------------------------------------------------------------------------------------

    def scalar(self, tag: str, value: float, step: int | None) -> None:
        """A point of a curve."""
        self.writer.add_scalar(encodable(tag), value, step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """A text for TensorBoard's text page."""
        self.writer.add_text(encodable(tag), encodable(markdown), step)

    def pr_curve(self, tag: str, labels: Tensor, probabilities: Tensor, step: int = 0) -> None:
        """For the PR CURVES page: precision and recall by threshold, of n boolean labels and their probabilities."""
        self.writer.add_pr_curve(encodable(tag), labels.cpu(), probabilities.float().cpu(), step)

    def embedding(self, tag: str, matrix: Tensor, labels: Sequence[str], step: int = 0) -> None:
        """Vectors (n, d) with n labels for TensorBoard's projector."""
        for name in (f"{step:05}/{tag}/metadata.tsv", f"{step:05}/{tag}/tensors.tsv", "projector_config.pbtxt"):
            inside(self.path, name)  # TensorBoard would write through a link
        # A tab or a line break would break the table, and lines are split at more than \n.
        clean = [" ".join(encodable(label).split()) or " " for label in labels]
        self.writer.add_embedding(matrix.float().cpu(), metadata=clean, tag=encodable(tag), global_step=step)

    def hyperparameters(
        self,
        settings: Mapping[str, Any],
        metrics: Mapping[str, float],
        step: int | None,
        first: Sequence[str] = (),
        prefix: str = "hp/",
    ) -> None:
        """Settings with their final metrics for the HPARAMS page, in this run itself (add_hparams would make a sub-run).

        The page shows five settings at once: those of ``first``, in order of their names, come before all others. The
        metrics' names there begin with ``prefix``.
        """
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped]
        from torch.utils.tensorboard.summary import hparams

        plain = {k: v if isinstance(v, bool | int | float) else encodable(v) if isinstance(v, str)
                 else json.dumps(v, default=str)
                 for k, v in settings.items()}  # fmt: skip
        summaries = hparams(plain, {encodable(f"{prefix}{name}"): value for name, value in metrics.items()})
        described = summaries[0].value[0].metadata.plugin_data
        data = HParamsPluginData.FromString(described.content)
        for info in data.experiment.hparam_infos:
            info.differs = info.name in first  # what the page sorts by before the name
        described.content = data.SerializeToString()
        for summary in summaries:
            self.writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            self.writer.add_scalar(encodable(f"{prefix}{name}"), value, step)

    # -- files --------------------------------------------------------------------------------------------------------

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer into this folder, opened when first used."""
        if self._writer is None:
            self._writer = self._open_writer()
        return self._writer

    def _open_writer(self) -> SummaryWriter:
        """TensorBoard reads its files in the order of their names, which begin with the second they were made in.

        This one gets a later second than all that are there, also where the clock was put back meanwhile.
        """
        from tensorboard.summary.writer import event_file_writer  # type: ignore[import-untyped]
        from torch.utils.tensorboard import SummaryWriter

        begun = [path.name.split(".")[3] for path in self.path.glob(EVENTS)]
        if not begun:  # from the first: TensorBoard takes its first session for no restart, whatever it says
            self._purge_step = 0
        first = 1 + max((int(second) for second in begun if second.isdecimal() and len(second) <= DIGITS), default=0)
        clock = event_file_writer.time
        event_file_writer.time = SimpleNamespace(time=lambda: max(first, time.time()))
        try:
            return SummaryWriter(self._name_for_tensorboard(), purge_step=self._purge_step, **self.options)
        finally:
            event_file_writer.time, self._purge_step = clock, None

    def _name_for_tensorboard(self) -> str:
        """The folder's name, or where that is not UTF-8, which TensorBoard's writer insists on, another one for it."""
        name = str(self.path)
        if encodable(name) == name:
            return name
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}"

    def flush(self) -> None:
        """Bring out what was shown."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def sizes(self) -> dict[str, int]:
        """The files' sizes by name, once all of them is brought out."""
        self.flush()
        return {path.name: path.stat().st_size for path in self.path.glob(EVENTS)}

    def take_up(self, sizes: Mapping[str, int], next_step: int) -> None:
        """Cut the files back to ``sizes``, and ``go_back``; nothing where one of them is not there, or smaller."""
        paths = {inside(self.path, name): size for name, size in sizes.items() if fnmatch(name, EVENTS)}
        if all(path.is_file() and path.stat().st_size >= size for path, size in paths.items()):
            self.close()
            for path, size in paths.items():
                cut(path, size)
            self.go_back(next_step, sizes)

    def go_back(self, next_step: int, names: Collection[str] | None = None) -> None:
        """Forget what came at ``next_step`` and after, but for what the files hold of it: that is written again.

        With ``names`` only these files count.
        """
        self._purge_step = next_step
        for event in self._events(next_step, names):
            self.writer._get_file_writer().event_writer.add_event(event)

    def _events(self, first_step: int, names: Collection[str] | None) -> list[Any]:
        """What TensorBoard shows of the steps from ``first_step`` on, as it stands in its files."""
        from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[import-untyped]

        kept: list[Any] = []
        for path in sorted(path for path in self.path.glob(EVENTS) if names is None or path.name in names):
            with open_inside(self.path, path.name, "rb") as stream:
                for event in _read_events(stream):
                    if event.session_log.status == SessionLog.START:
                        kept = [each for each in kept if each.step < event.step]
                    elif event.HasField("summary") and event.step >= first_step:
                        kept.append(event)
        return kept


def _read_events(stream: IO[bytes]) -> Iterator[Any]:
    """The events of one of TensorBoard's files, up to the first that is damaged: there TensorBoard stops reading, too."""
    from tensorboard.compat.proto.event_pb2 import Event

    for record in _records(stream):
        try:
            event = Event.FromString(record)
        except Exception:  # protobuf's: tensorboard brings it, and has no name of its own for its errors
            return
        yield event


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """The records of a TFRecord file, up to the first that is not whole: each has its length, and checksums of both.

    A length may be any number: no more than what is there is read.
    """
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # type: ignore[import-untyped]

    left = os.fstat(stream.fileno()).st_size
    while len(head := stream.read(12)) == 12:
        length, checksum = struct.unpack("<QI", head)
        left -= 16 + length
        if left < 0 or checksum != masked_crc32c(head[:8]):
            return
        record, end = stream.read(length), stream.read(4)
        if end != struct.pack("<I", masked_crc32c(record)):
            return
        yield record
