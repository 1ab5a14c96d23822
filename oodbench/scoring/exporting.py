"""A detector's score as one graph that runs without oodbench: torch's own format, or ONNX.

Not every score is one: a method that differentiates while it scores, or that decides in Python what to compute, is
refused by name. What was written is read again and held against the detector on images that it was not traced with.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.basics.randomness import torch_generator
from oodbench.basics.words import printable
from oodbench.detector import Detector
from oodbench.scoring.batches import exact
from oodbench.scoring.deployed import DeployedDetector, Floats

AGREES = 1e-4
"""How far the graph's scores may lie from the detector's, as a share of the standard deviation of the latter."""

BATCHES = (1, 5, 12)
"""Numbers of images that the graph is tried on."""

TRACED = 3
"""Images that it is traced with."""

Run = Callable[[Tensor], Any]
"""Images, float32 (N, 3, H, W) in [0, 1], to scores (N,)."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        difference: the largest of a score, as a share of the scores' standard deviation.
        images: that it was held against the detector on.
    """

    path: Path
    difference: float
    images: int


class ScoreGraph(nn.Module):
    """Images float (N, 3, H, W) in [0, 1] to scores (N,): what is written."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.network  # so that its weights are the graph's
        self._detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """Higher = more in-distribution."""
        return self._detector.score(images)


def export(detector: DeployedDetector, path: Path) -> Exported:
    """Write the score of `detector` as one graph, and hold it against the detector.

    Its input is called "images", float32 (N, 3, H, W) in [0, 1] with any N, of the size that the detector takes; its
    output "scores", (N,).

    Args:
        detector: fitted, on a CPU.
        path: ends with .pt2 for `torch.export.load`, or with .onnx, which needs the extra `oodbench[onnx]`.

    Raises:
        OodbenchError: the score is no such graph, or the graph gives other scores; or the file is of another kind.
    """
    writers = {".pt2": _torch, ".onnx": _onnx}
    if path.suffix not in writers:
        raise OodbenchError(f"{path} ends with neither {' nor '.join(writers)}: these are the kinds that there are")
    name, side = detector.detector.name, detector.input.side
    if detector.detector.draws():
        raise OodbenchError(f"{name} draws random numbers for each image, and a graph would draw the same for all")
    if detector.detector.needs_graph():
        raise OodbenchError(f"{name} differentiates while it scores, which no graph of {path.suffix} holds")
    with exact(detector.detector.network), torch.no_grad():
        try:
            with _quiet():
                # A copy: what a method keeps while it scores would be left with what tracing puts in its place.
                graph = ScoreGraph(deepcopy(detector.detector)).eval()
                content, run = writers[path.suffix](graph, drawn(TRACED, side, "traced"))
        except OodbenchError:
            raise
        except Exception as error:  # whatever torch says of code that it cannot trace
            raise OodbenchError(
                f"the score of {name} is no graph that {path.suffix} holds ({_said(error)}): use the detector itself, "
                "oodbench.load_detector or `oodbench score`"
            ) from error
        difference, count = _difference(detector.detector, run, side)
    if not difference <= AGREES:
        raise OodbenchError(
            f"the graph of {name} gives other scores than the detector, by {difference:.2g} of their standard "
            f"deviation where {AGREES:g} is allowed: score with the detector itself"
        )
    write_atomic(path, content)
    return Exported(path, difference, count)


def drawn(count: int, side: tuple[int, int], purpose: str) -> Tensor:
    """Made-up images, float32 (count, 3, H, W) in [0, 1]: from flat ones to noise, bright and dark."""
    generator = torch_generator(f"export/{purpose}/{count}")
    noise = torch.rand((count, 3, *side), generator=generator)
    coarse = torch.rand((count, 3, 4, 4), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=side, mode="bilinear", align_corners=False)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    levels = (255 * (share * smooth + (1 - share) * noise)).round()
    return levels / 255


def _difference(detector: Detector, run: Run, side: tuple[int, int]) -> tuple[float, int]:
    """The largest difference, as a share of the standard deviation, and the images that it is of."""
    own, other = [], []
    for count in BATCHES:
        images = drawn(count, side, "tried")
        own.append(_floats(detector.score(images)))
        try:
            other.append(_floats(run(images)))
        except Exception as error:
            raise OodbenchError(
                f"the graph of {detector.name} does not run on {count} images ({_said(error)}): use the detector itself"
            ) from error
        if other[-1].shape != own[-1].shape:
            raise OodbenchError(f"the graph of {detector.name} gives {other[-1].shape} scores for {count} images")
    mine, found = np.concatenate(own), np.concatenate(other)
    return float(np.abs(mine - found).max() / max(float(mine.std()), np.finfo(np.float64).tiny)), len(mine)


def _floats(scores: Any) -> Floats:
    return np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, np.float64)


def _said(error: BaseException) -> str:
    """What is behind an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next(iter(str(error).splitlines()), "")
    return printable(f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__)


def _torch(graph: ScoreGraph, images: Tensor) -> tuple[bytes, Run]:
    program = torch.export.export(
        graph, (images,), dynamic_shapes={"images": {0: torch.export.Dim.DYNAMIC}}, strict=False
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


def _onnx(graph: ScoreGraph, images: Tensor) -> tuple[bytes, Run]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OodbenchError(
            f"ONNX needs the package {error.name}: pip install 'oodbench[onnx]', or write .pt2, which needs nothing"
        ) from error
    program = torch.onnx.export(
        graph,
        (images,),
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes={"images": {0: torch.export.Dim.DYNAMIC}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise OodbenchError("torch wrote no ONNX graph")
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda some: session.run(["scores"], {"images": some.numpy()})[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's words: on what it is going to change, and the whole graph as far as it came."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
