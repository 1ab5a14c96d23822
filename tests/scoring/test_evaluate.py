"""Every task by `oodbench.evaluate`: what it does in a run, by hand or to the last bit, or a refusal by name."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import oodbench
from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detectors.msp import MSP
from oodbench.images import builtin
from oodbench.images.imageset import ImageSet
from oodbench.networks import build, checkpoints
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.scoring.fitting import fit
from oodbench.suitefiles import suitefile
from oodbench.tasks import Compositional, Corruption, Linf, LinfAdaptive, Task
from oodbench.tasks.task import Altered


def brightness(images):
    """A score that can be followed by hand: bright images are in-distribution."""
    return images.mean((1, 2, 3))


def grey(levels):
    """One 8 x 8 image of each grey level."""
    return np.broadcast_to(np.asarray(levels, np.uint8)[:, None, None, None], (len(levels), 8, 8, 3))


BRIGHT, DARK = grey([2, 120, 140, 160, 180]), grey([0, 99, 101, 110])


def aurocs(score, attack, ood=DARK, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OodbenchWarning)
        frame = oodbench.evaluate(score, BRIGHT, ood, attack=attack, **options)
    return frame[frame["metric"] == "auroc"].set_index("task")["value"].to_dict()


@pytest.mark.parametrize("side", ["out", "in", "both"])
@pytest.mark.parametrize("attack", [Linf, LinfAdaptive])
def test_who_arrives_at_the_end_of_the_ball_has_not_stalled(attack, side):
    found = {}
    for name, score in (("slope", brightness), ("steps", lambda x: (brightness(x) * 50).round() + 0 * brightness(x))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            oodbench.evaluate(score, BRIGHT, DARK, attack=attack(epsilon=6, side=side))
        found[name] = " ".join(str(warning.message) for warning in caught)
    assert "the climb found nothing" not in found["slope"]
    assert "the gradient misleads" not in found["slope"]
    assert "the climb found nothing" in found["steps"]  # a gradient of zero may hide a way on


@pytest.mark.parametrize("kind", [Linf, LinfAdaptive])
def test_every_side_is_the_one_that_is_attacked(kind):
    more = {"objective": "adaptive", "steps": 16} if kind is Linf else {"level": "quick"}
    # Of 20 pairs, clean, three are lost: 99, 101 and 110 against 2.
    assert aurocs(brightness, None) == {"clean": 17 / 20}
    # OOD images 8 levels up: 8, 107, 109 and 118 against 2 lose four.
    assert aurocs(brightness, kind(epsilon=8, **more))[kind.kind] == 16 / 20
    # ID images 8 levels down, but not below 0: 0, 112, 132, ... against 0, 99, 101 and 110 lose three and a half.
    assert aurocs(brightness, kind(epsilon=8, side="in", **more))[kind.kind] == 16.5 / 20
    # Both: 0, 112, 132, ... against 8, 107, 109 and 118 lose four, and 118 beats 112.
    assert aurocs(brightness, kind(epsilon=8, side="both", **more))[kind.kind] == 15 / 20


def test_corruption_is_a_search_and_compositional_starts_from_what_it_found():
    # Brightness of severity 1 adds 0.05 of 255, cut to whole levels: 12, 111, 113 and 122, which beats 120.
    search = Corruption(types=("brightness",), severities=(1,))
    assert aurocs(brightness, search)["corruption"] == 15 / 20
    # 8 levels more: 20, 119, 121 and 130.
    then = Compositional(types=("brightness",), severities=(1,), epsilon=8, steps=16, objective="adaptive")
    assert aurocs(brightness, then)["compositional"] == 14 / 20


def test_a_corruption_that_lowers_the_score_is_not_taken():
    darker = Corruption(types=("contrast",), severities=(5,))
    assert aurocs(lambda images: images.std((1, 2, 3)) + brightness(images), darker)["corruption"] == 17 / 20


@pytest.fixture(scope="module")
def network():
    return build("small-cnn", 10, mean=(0.5,) * 3, std=(0.5,) * 3, seed=0).eval()


@pytest.fixture(scope="module")
def fitted(network):
    detector = MSP()
    fit([detector], network, 10)
    return detector


@pytest.mark.parametrize("name", ["msp"])
def test_a_run_and_evaluate_give_the_same_scores(tmp_path, monkeypatch, network, name):
    monkeypatch.chdir(tmp_path)
    checkpoints.save(network, tmp_path / "network.safetensors", {})
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'extends = "digits-adv"\nversion = 1\ntitle = "mine"\n[[ood]]\nset = "letters"\ndistance = "near"\n'
        "[tasks.corruption]\ntypes = ['snow', 'contrast']\nseverities = [1, 5]\n"
        "[tasks.compositional]\ntypes = ['snow', 'contrast']\nseverities = [1, 5]\nepsilon = 32\nsteps = 3\n"
        "[tasks.linf-adaptive]\nepsilon = 8\nlevel = 'quick'\n[tasks.certified]\nepsilon = 1\n"
        "[tasks.linf-in]\nkind = 'linf'\nepsilon = 8\nsteps = 3\nside = 'both'\n"
    )
    tasks = ["clean", "corruption", "compositional", "linf-adaptive", "certified", "linf-in"]
    oodbench.run(suite, name, checkpoint="network.safetensors", tasks=tasks, limit=20, say=lambda _: None)
    stored = oodbench.load_results("results").set_index(["task", "metric"])
    detector = discover()[name]()
    fit([detector], network, 10)
    id_images, ood_images = (builtin.make(one).spread(20) for one in ("digits-test", "letters"))
    for called, task in ((name, suitefile.load(str(suite)).tasks[name]) for name in tasks[1:]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OodbenchWarning)
            frame = oodbench.evaluate(detector, id_images, ood_images, attack=task)
        assert list(frame["task"].unique()) == ["clean", task.kind]
        for kind, stored_as in (("clean", "clean"), (task.kind, called)):
            found = frame[frame["task"] == kind].set_index("metric")
            wanted = stored.loc[stored_as].loc[found.index]
            same = ["value", "looks", "retired", "hidden", "epsilon", "threat", *oodbench.statistics.honesty.FLAGS]
            for column in same:
                assert list(found[column].fillna(-1)) == list(wanted[column].fillna(-1)), (stored_as, column)
    assert len(cells(tmp_path / "results")) == 1


def test_a_bound_is_a_guarantee(fitted):
    id_images, ood_images = (builtin.make(one).images[:20] for one in ("digits-test", "letters"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OodbenchWarning)
        frame = oodbench.evaluate(fitted, id_images, ood_images, attack="certified", epsilon=1)
    of_auroc = frame[frame["metric"] == "auroc"].set_index("task")
    assert of_auroc.loc["certified", "value"] <= of_auroc.loc["clean", "value"]
    assert "no attack within L-infinity 1/255" in of_auroc.loc["certified", "threat"]


class Margin:
    """An object with a score and what else there is to climb; a grid of steps hides the score's own gradient."""

    def __init__(self):
        self.climbed = set()

    def __call__(self, images):
        return (brightness(images) * 100).floor() / 100

    def surrogates(self):
        return {"smooth": lambda images: self._noted("smooth", images)}

    def targets(self, images):
        return self._noted("targets", images)[:, None] * torch.tensor([1.0, 0.5])

    def published_objective(self, images):
        return self._noted("published", images)

    def _noted(self, name, images):
        self.climbed.add(name)
        return brightness(images)


def test_an_object_is_attacked_through_all_that_it_offers():
    margin = Margin()
    assert aurocs(margin, LinfAdaptive(epsilon=8))["linf-adaptive"] < 17 / 20
    assert margin.climbed == {"smooth", "targets", "published"}
    margin = Margin()
    aurocs(margin.__call__, Linf(epsilon=8))
    assert margin.climbed == {"published"}


def train_mode():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))


@pytest.mark.parametrize(
    "behind",
    [
        lambda net: lambda images: net(images)[:, 0],
        lambda net: Behind(net),
        lambda net: Behind(net).__call__,
        lambda net: nn.Sequential(net, Column()),
    ],
)
def test_a_network_in_train_mode_is_refused_and_left_alone(behind):
    net = train_mode()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(OodbenchError, match=r"train mode.*call \.eval\(\)"):
        oodbench.evaluate(behind(net), BRIGHT, DARK)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.eval()
    oodbench.evaluate(behind(net).eval() if isinstance(behind(net), nn.Module) else behind(net), BRIGHT, DARK)
    assert all(weights.requires_grad for weights in net.parameters())


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net):
        self.net = net

    def __call__(self, images):
        return self.net(images)[:, 0]


def test_a_network_in_train_mode_is_refused_wherever_it_is_held():
    net = train_mode()
    held = [net]
    for _ in range(9):
        held = [held]
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def deep(images):
        found = held
        while isinstance(found, list):
            (found,) = found
        return found(images)[:, 0]

    for score in (Slotted(net), deep):
        with pytest.raises(OodbenchError, match=r"train mode.*call \.eval\(\)"):
            oodbench.evaluate(score, BRIGHT, DARK)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(torch.zeros(2, 3, 8, 8))  # elsewhere nothing watches


class Lighter(Task):
    """A task of somebody's own that does not say how far it moves a pixel."""

    kind = "lighter"

    def alter(self, goal, images, indices, purpose):
        return Altered((images + 5 / 255).clamp(max=1))


class LighterByFive(Lighter):
    epsilon = 5


def test_a_task_that_would_not_be_carried_out_is_refused():
    with pytest.raises(OodbenchError, match="'lighter' alters images and says no radius"):
        oodbench.evaluate(brightness, BRIGHT, DARK, attack=Lighter())
    # 5, 104, 106 and 115 against 2 lose four.
    assert aurocs(brightness, LighterByFive())["lighter"] == 16 / 20
    assert aurocs(brightness, Linf(epsilon=0))["linf"] == 17 / 20  # a ball of one point


class Column(nn.Module):
    def forward(self, logits):
        return logits[:, :1]


class Behind:
    def __init__(self, net):
        self.parts = {"net": [net]}

    def __call__(self, images):
        return self.parts["net"][0](images)[:, 0]


def test_buffers_that_a_score_writes_to_are_put_back():
    net = train_mode().eval()

    def meddling(images):
        net[1].running_mean += 1
        return net(images)[:, 0]

    with pytest.raises(OodbenchError, match="changed 1.running_mean of Sequential"):
        oodbench.evaluate(meddling, BRIGHT, DARK)
    assert (net[1].running_mean == 0).all()


def test_a_score_that_depends_on_its_batch_or_on_chance_is_told_with_its_size():
    def of_its_batch(images):
        return brightness(images) - brightness(images).mean() / 2

    with pytest.warns(OodbenchWarning, match="clean: the score of one image changes by"):
        frame = oodbench.evaluate(of_its_batch, BRIGHT, DARK)
    assert (frame["unsteadiness"] > 0.01).all()
    with pytest.warns(OodbenchWarning, match="changes by"):
        oodbench.evaluate(lambda images: brightness(images) + 0.01 * torch.rand(len(images)), BRIGHT, DARK)


def test_a_flipped_score_is_told():
    rng = np.random.default_rng(0)
    low, high = (rng.integers(*ends, (40, 8, 8, 3), np.uint8) for ends in ((0, 100), (100, 200)))
    with pytest.warns(OodbenchWarning, match="the wrong way round"):
        oodbench.evaluate(brightness, low, {"a": high, "b": high})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        oodbench.evaluate(brightness, high, {"a": low, "b": low})


class Loader:
    def __iter__(self):
        yield torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (Loader(), "test_evaluate.Loader: give uint8"),
        ((image for image in DARK), "torch.cat([batch[0] for batch in loader])"),
        (torch.utils.data.TensorDataset(torch.zeros(2, 3, 8, 8)), "torch.stack([one[0] for one in dataset])"),
        (torch.utils.data.DataLoader(torch.zeros(2, 3, 8, 8)), "DataLoader"),
        ("images.h5", "'images.h5'"),
        (None, "is None"),
        ([DARK[0], DARK[0][:4]], "all of one size"),
        ([torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)], "all of one size"),
        ([], "give uint8"),
        (DARK[:, :4], "different sizes ('id' 8 x 8, 'ood' 4 x 8)"),
        (DARK[..., :1], "repeat a grey channel"),
        (DARK[..., 0], "give uint8"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), "give uint8"),
        (torch.full((2, 3, 8, 8), 200.0), "leave [0, 1]"),
        (torch.full((2, 3, 8, 8), torch.nan), "hold values that are no numbers"),
        ({}, "give one set or more"),
        ({0: DARK}, "by a name in words"),
        ({"a": {"b": DARK}}, "ood_images 'a' is of the type"),
        (np.array([["a"]]), "make no array of images"),
        (ImageSet("none", DARK[:0], np.zeros(0, np.int64), ""), "'none' is empty"),
    ],
)
def test_what_are_no_images_is_told(images, told):
    with pytest.raises(OodbenchError) as caught:
        oodbench.evaluate(brightness, BRIGHT, images)
    assert told in str(caught.value)


def test_lists_of_images_are_images():
    wanted = aurocs(brightness, None)
    assert aurocs(brightness, None, ood=list(DARK)) == wanted
    assert aurocs(brightness, None, ood=list(torch.from_numpy(DARK.copy()).permute(0, 3, 1, 2) / 255)) == wanted
    learning = (torch.from_numpy(DARK.copy()).permute(0, 3, 1, 2) / 255).requires_grad_()
    assert aurocs(brightness, None, ood=learning) == wanted
    assert aurocs(brightness, None, ood=learning.detach().double()) == wanted


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (lambda images: (brightness(images), 1), "gave a tuple for"),
        (lambda images: None, "gave a NoneType for"),
        (lambda images: {"score": 1}, "gave a dict for"),
        (lambda images: ["a"] * len(images), "gave a list for"),
        (lambda images: [[1.0], [1.0, 2.0]], "gave a list for"),
        (lambda images: brightness(images).mean(), "float32 of shape ()"),
        (lambda images: images.mean((2, 3)), "of shape (5, 3) for 5 images"),
        (lambda images: brightness(images) * torch.inf, "NaN or infinity"),
        (lambda images: images @ torch.zeros(3, 7), "failed on 5 images, float32 (N, 3, 8, 8) on cpu: RuntimeError"),
        (lambda images: images.no_such_thing, "AttributeError"),
        (None, "score is None"),
        (3, "score is int"),
        (MSP(), "'msp' is not fitted yet"),
        (MSP, "score is the class MSP"),
    ],
)
def test_what_is_no_score_is_told(score, told):
    with pytest.raises(OodbenchError) as caught:
        oodbench.evaluate(score, BRIGHT, DARK)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "score",
    [
        lambda images: brightness(images)[:, None],
        lambda images: brightness(images).tolist(),
        lambda images: list(brightness(images)),
        lambda images: brightness(images).numpy().astype(np.float16 if images.requires_grad else np.float64),
        lambda images: (brightness(images) * 1000).int(),
        lambda images: images.mul_(2).mean((1, 2, 3)),  # works in place
    ],
)
def test_scores_come_in_many_forms(score):
    assert aurocs(score, None) == {"clean": 17 / 20}


def test_a_score_that_works_in_place_is_attacked_like_any_other():
    task = LinfAdaptive(epsilon=8, level="quick")
    assert aurocs(lambda images: images.mul_(2).mean((1, 2, 3)), task) == aurocs(brightness, task)


def test_radii_are_whole_numbers_of_any_type():
    for epsilon in (8, 8.0, np.int64(8), np.uint8(8), np.float32(8), torch.tensor(8)):
        assert aurocs(brightness, "linf", epsilon=epsilon)["linf"] == 16 / 20


def test_a_detectors_method_is_the_detector(fitted):
    id_images, ood_images = (builtin.make(one).first(20) for one in ("digits-test", "letters"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OodbenchWarning)
        frames = [
            oodbench.evaluate(score, id_images, ood_images, attack=Linf(epsilon=8, steps=2))
            for score in (fitted, fitted.score)
        ]
    assert frames[0].equals(frames[1])
