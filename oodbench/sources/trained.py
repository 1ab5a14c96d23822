"""Trained networks that the public keeps, fetched and verified like data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.sources import torchvision_weights
from oodbench.sources.download import download
from oodbench.sources.hub import EXPECTED, SCHEME, HubFile
from oodbench.sources.source import RemoteFile, remote_file

FOLDER = "networks"
"""The folder, below the data folder, in which they are kept."""

TOLERATED = 0.002
"""The distance that a measured accuracy may have from the known one: machines round a little differently."""


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        title: what it is, and who trained it.
        file: its checkpoint.
        network: the architecture, as suites name it.
        on: the ID test set that its accuracy is known on.
        accuracy: there, in [0, 1]; None where it is not known.
        terms: licence, as far as it is known.
        mean: subtracted from each RGB channel, which the suite must say, in [0, 1] units.
        std: divides each RGB channel, which the suite must say.
        source: who knows the accuracy; empty if this project measured it.
    """

    title: str
    file: RemoteFile
    network: str
    on: str
    accuracy: float | None
    terms: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str = ""


_CIFAR = ((0.49137255, 0.48235294, 0.44666667), (0.24705882, 0.24352941, 0.26156863))
"""Mean and deviation, 125.3, 123.0, 113.9 and 63.0, 62.1, 66.7 of 255, for CIFAR-100 as well."""

_CIFAR10 = ((0.4913, 0.4823, 0.4467), (0.247, 0.2435, 0.2616))
_CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_NO_LICENCE = "the repository states no licence"


def _dice_file(set_name: str, digest: str, size: int) -> RemoteFile:
    path = f"checkpoints/{set_name}/densenet/checkpoint_100.pth.tar"
    name = f"densenet-{set_name.replace('-', '').lower()}.pth.tar"
    return RemoteFile((f"https://raw.githubusercontent.com/deeplearning-wisc/dice/master/{path}",), digest, size, name)


def _wide_resnet(
    title: str, url: str, digest: str, on: str, accuracy: float | None = None, *, own: bool = False
) -> Trained:
    """A WideResNet-40-2 of pytorch-ood 0.4.0's registry, which has its digest and, of its `own`, the accuracy."""
    mean, std = ({"cifar10-test": _CIFAR10, "cifar100-test": _CIFAR100}[on]) if own else _CIFAR
    root = (
        "https://huggingface.co/kkirchheim/pytorch-ood-models/resolve/main/wrn-40-2/" if own else "https://github.com/"
    )
    saved_as = f"wrn-{digest[:16]}.pt"
    file = remote_file(f"{root}{url}", f"sha256:{digest}", 9.0, saved_as=saved_as)
    terms = "Apache-2.0, as pytorch-ood is" if own else _NO_LICENCE
    return Trained(title, file, "wideresnet-40-2", on, accuracy, terms, mean, std, "pytorch-ood" if own else "")


TRAINED: Mapping[str, Trained] = {
    "densenet-cifar10": Trained(
        "DenseNet-BC(100, 12) on CIFAR-10, by the authors of DICE (Sun and Li 2022, arXiv:2111.09805)",
        _dice_file("CIFAR-10", "sha256:deaefd082911a1c6c92aacdcfecf03c71b932acc5c08b779c85c44eccdc0c817", 3_381_795),
        "densenet-bc-100-12",
        "cifar10-test",
        0.9403,
        _NO_LICENCE,
        *_CIFAR,
    ),
    "densenet-cifar100": Trained(
        "DenseNet-BC(100, 12) on CIFAR-100, by the authors of DICE (Sun and Li 2022, arXiv:2111.09805)",
        _dice_file("CIFAR-100", "sha256:56cbe261c2612976e11aedcbd60ba00766e8c01c78f96c3f18ff561ead804d47", 3_505_315),
        "densenet-bc-100-12",
        "cifar100-test",
        None,
        _NO_LICENCE,
        *_CIFAR,
    ),
    "wrn-cifar10": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, by the authors of the energy score (Liu et al. 2020, arXiv:2010.03759)",
        "wetliu/energy_ood/raw/master/CIFAR/snapshots/pretrained/cifar10_wrn_pretrained_epoch_99.pt",
        "0b59e178577382a0cf5d1e079d1d019f6a33b0801b7d123a59e51b4b32972637",
        "cifar10-test",
    ),
    "wrn-cifar100": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, by the authors of the energy score (Liu et al. 2020, arXiv:2010.03759)",
        "wetliu/energy_ood/raw/master/CIFAR/snapshots/pretrained/cifar100_wrn_pretrained_epoch_99.pt",
        "3751f516b81ef9d27290f08a3de78d65a3771f477bd6a6caefa81b330dc34baf",
        "cifar100-test",
    ),
    "wrn-cifar10-oe": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, tuned with 80 Million Tiny Images by Outlier Exposure (Hendrycks et al. 2019)",
        "hendrycks/outlier-exposure/raw/master/CIFAR/snapshots/oe_tune/cifar10_wrn_oe_tune_epoch_9.pt",
        "b473f1c463c9fe16057647746907b68b6ade615f93ac4bdf005263ed69d542d0",
        "cifar10-test",
    ),
    "wrn-cifar100-oe": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, tuned with 80 Million Tiny Images by Outlier Exposure (Hendrycks et al. 2019)",
        "hendrycks/outlier-exposure/raw/master/CIFAR/snapshots/oe_tune/cifar100_wrn_oe_tune_epoch_9.pt",
        "1d4dd53f7605d66f64bcdf146ed9327ecbebbd5da42a9f7d70b9d6a28ee9bb51",
        "cifar100-test",
    ),
    "wrn-cifar10-s1": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, seed 1 (pytorch-ood)",
        "cifar10/crossentropy/s1/model-b1b7465567ee2494.pt",
        "b1b7465567ee249481b8ff631f9d96fcc80d4c27783dc117aa2020888607cdf7",
        "cifar10-test",
        0.9480,
        own=True,
    ),
    "wrn-cifar10-s2": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, seed 2 (pytorch-ood)",
        "cifar10/crossentropy/s2/model-9c18ac23901a26b7.pt",
        "9c18ac23901a26b7787de79042051ec90a75e8036e5b2c7858c2db8ab437816b",
        "cifar10-test",
        0.9484,
        own=True,
    ),
    "wrn-cifar100-s0": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, seed 0 (pytorch-ood)",
        "cifar100/crossentropy/s0/model-4b5b3ed2f448b40c.pt",
        "4b5b3ed2f448b40cc48abe05221b4af39e351b04ce215edf2c0ea7a113593d2f",
        "cifar100-test",
        0.7557,
        own=True,
    ),
    "wrn-cifar100-s1": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, seed 1 (pytorch-ood)",
        "cifar100/crossentropy/s1/model-1b8e15072dc0d887.pt",
        "1b8e15072dc0d88776dc59c23192628354b958fa22bdc21073664d60d862d685",
        "cifar100-test",
        0.7570,
        own=True,
    ),
    "wrn-cifar100-s2": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, seed 2 (pytorch-ood)",
        "cifar100/crossentropy/s2/model-f1a77c51f747d58e.pt",
        "f1a77c51f747d58e16bc4a7a04d8a6b7f65d3a7c694e63e5b6480fd08a8f423e",
        "cifar100-test",
        0.7611,
        own=True,
    ),
    "wrn-cifar10-oe-s0": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, tuned with 300K Random Images by Outlier Exposure, seed 0 (pytorch-ood)",
        "cifar10/oe/s0/model-4b018f801843365c.pt",
        "4b018f801843365c8ba578d20caa97be2f995eb7eb93c5909f1c0273bc7b6022",
        "cifar10-test",
        0.9450,
        own=True,
    ),
    "wrn-cifar10-oe-s1": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, tuned with 300K Random Images by Outlier Exposure, seed 1 (pytorch-ood)",
        "cifar10/oe/s1/model-71896c06742c88c7.pt",
        "71896c06742c88c7135d2869682ee1fe190d3b5e1f63129c65f1fdd338908e2a",
        "cifar10-test",
        0.9414,
        own=True,
    ),
    "wrn-cifar10-oe-s2": _wide_resnet(
        "WideResNet-40-2 on CIFAR-10, tuned with 300K Random Images by Outlier Exposure, seed 2 (pytorch-ood)",
        "cifar10/oe/s2/model-0e08d73c2cc42595.pt",
        "0e08d73c2cc4259562f5bcd09abfb33c6b53c10e3010b807434d68da98165bb5",
        "cifar10-test",
        0.9456,
        own=True,
    ),
    "wrn-cifar100-oe-s0": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, tuned with 300K Random Images by Outlier Exposure, seed 0 (pytorch-ood)",
        "cifar100/oe/s0/model-f713cea10b512718.pt",
        "f713cea10b512718f1dc8772f54b3220a827a23114713bcc9f50d95d1460d920",
        "cifar100-test",
        0.7457,
        own=True,
    ),
    "wrn-cifar100-oe-s1": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, tuned with 300K Random Images by Outlier Exposure, seed 1 (pytorch-ood)",
        "cifar100/oe/s1/model-4d9c5eaac646477b.pt",
        "4d9c5eaac646477b706f006337b4a0f7c49a2be4bc064f230dd7766229851e89",
        "cifar100-test",
        0.7517,
        own=True,
    ),
    "wrn-cifar100-oe-s2": _wide_resnet(
        "WideResNet-40-2 on CIFAR-100, tuned with 300K Random Images by Outlier Exposure, seed 2 (pytorch-ood)",
        "cifar100/oe/s2/model-51ec426d53fe2a27.pt",
        "51ec426d53fe2a2747bfa03301b905029166eaa09d38061158905265cf5fe05a",
        "cifar100-test",
        0.7495,
        own=True,
    ),
    "resnet50-imagenet": Trained(
        "ResNet-50 on ImageNet-1k, torchvision's IMAGENET1K_V1",
        remote_file("https://download.pytorch.org/models/resnet50-0676ba61.pth", "sha256:0676ba61", 102.5),
        "resnet50.tv_in1k",
        "imagenet-val",
        0.7613,
        "BSD-3-Clause",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "torchvision",
    ),
}
"""By the name that --checkpoint takes."""


def fetch_trained(name: str, data: Path) -> Path:
    """Download and verify the checkpoint of a trained network, into the data folder.

    Raises:
        OodbenchError: what went wrong on the way.
    """
    return download(TRAINED[name].file, data / FOLDER)


def checkpoint(given: str, data: Path) -> Path:
    """Find the file that `--checkpoint` means.

    It is a path, a file on the Hugging Face hub, which is fetched, or the name of a trained network that was fetched,
    here or by torchvision (`torchvision:resnet18.IMAGENET1K_V1`).
    Behind a path or a file on the hub there may be the name of an entry in it, `net.pth#ema`.

    Raises:
        OodbenchError: none of these.
    """
    from oodbench.networks.statedicts import split_entry  # which takes torch

    if given.startswith(SCHEME):
        address, mark, entry = given.partition("#")
        return Path(f"{HubFile.parse(address).fetch()}{mark}{entry}")
    if given.startswith(torchvision_weights.SCHEME):
        return torchvision_weights.local_file(given, data / FOLDER)
    path = Path(given)
    if (file := split_entry(path)[0]).is_file() or given not in TRAINED:
        if not file.is_file():
            raise OodbenchError(
                f"there is no trained network {given}: give the path of a file, {EXPECTED}, or one of "
                f"{', '.join(TRAINED)}"
            )
        return path
    local = data / FOLDER / TRAINED[given].file.name
    if not local.is_file():
        raise OodbenchError(f"network {given!r} is not there yet: `oodbench data fetch {given}`")
    return local


def accuracy_warning(given: str, id_test: str, accuracy: float) -> str | None:
    """The warning for a trained network that does not reach the accuracy that is known of it; None if it does."""
    known = TRAINED.get(given)
    if known is None or known.accuracy is None or known.on != id_test or abs(accuracy - known.accuracy) <= TOLERATED:
        return None
    right = f"{known.accuracy:.2%} of {id_test}" + (f", says {known.source}," if known.source else "")
    return (
        f"{given} should be right on {right} and is on {accuracy:.2%}: is the normalisation, or the order of the "
        "classes, another one?"
    )
