"""A detector's score as one graph that runs without oodbench: torch's own format, or ONNX.

Not every score is one: a method that differentiates while it scores, or that decides in Python what to compute, is
refused by name. What was written is read again and held against the detector on images that it was not traced with.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.detector import Detector
from oodbench.scoring.batches import exact
from oodbench.scoring.deployed import DeployedDetector
from oodbench.scoring.graph_check import Agreement, Run, compared, drawn, said

TRACED = 3
"""Images that it is traced with."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        agreement: how near its scores come to the detector's.
    """

    path: Path
    agreement: Agreement


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
                f"the score of {name} is no graph that {path.suffix} holds ({said(error)}): use the detector itself, "
                "oodbench.load_detector or `oodbench score`"
            ) from error
        found = compared(detector.detector, run, side, detector.calibration)
    if not found.share <= 1:
        raise OodbenchError(
            f"the graph of {name} gives other scores than the detector, {found.score:.6g} but for {found.off:.2g}, "
            f"where {found.off / found.share:.2g} is allowed: score with the detector itself"
        )
    write_atomic(path, content)
    return Exported(path, found)


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
