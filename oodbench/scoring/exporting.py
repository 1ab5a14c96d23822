"""Writes a detector's score as one graph that runs without oodbench: in torch's own format, or in ONNX.

Not every score can be written: a method that differentiates while it scores, or that decides in Python what to compute,
is refused by name. The graph is read again and compared with the detector on images that it was not traced with.
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
from oodbench.scoring.graph_check import Agreement, Run, compare_graph, error_text, made_up_images

TRACED_IMAGES = 3
"""Images that a score is traced with."""


@dataclass(frozen=True)
class Exported:
    """The outcome of an export.

    Attributes:
        path: of the file.
        agreement: of its scores with the detector's.
    """

    path: Path
    agreement: Agreement


class ScoreGraph(nn.Module):
    """A module from images, float (N, 3, H, W) in [0, 1], to scores (N,), as it is written."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.network  # so that its weights are the graph's
        self._detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,); higher = more in-distribution."""
        return self._detector.score(images)


def export(detector: DeployedDetector, path: Path) -> Exported:
    """Write the score of `detector` as one graph, and compare it with the detector.

    Its input is called "images", float32 (N, 3, H, W) in [0, 1] with any N, of the size that the detector takes; its
    output "scores", (N,).

    Args:
        detector: fitted, on a CPU.
        path: ends with .pt2 for `torch.export.load`, or with .onnx, which needs the extra `oodbench[onnx]`.

    Raises:
        OodbenchError: the score cannot be written as a graph, the graph gives other scores, or the file is of another
            kind.
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
                # A copy, since tracing replaces the tensors that a method keeps while it scores.
                graph = ScoreGraph(deepcopy(detector.detector)).eval()
                content, run = writers[path.suffix](graph, made_up_images(TRACED_IMAGES, side, "traced"))
        except OodbenchError:
            raise
        except Exception as error:  # torch raises anything for code that it cannot trace
            raise OodbenchError(
                f"the score of {name} is no graph that {path.suffix} holds ({error_text(error)}): use the detector "
                "itself, oodbench.load_detector or `oodbench score`"
            ) from error
        agreement = compare_graph(detector.detector, run, side, detector.calibration)
    if not agreement.share <= 1:
        raise OodbenchError(
            f"the graph of {name} gives other scores than the detector, {agreement.score:.6g} but for "
            f"{agreement.off:.2g}, where {agreement.off / agreement.share:.2g} is allowed: score with the "
            "detector itself"
        )
    write_atomic(path, content)
    return Exported(path, agreement)


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
    """Silence torch, which logs its plans and prints the whole graph where it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
