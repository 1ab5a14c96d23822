"""Networks like CLIP, with random towers and embeddings made by hand: no weights of CLIP were at hand."""

import math
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import oodbench as ood
from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.networks.of_text import TextNetwork, TimmTower, embeddings
from oodbench.registry import discover

SMALL = {"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 48, "num_heads": 2}
TEXTS = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
NEGATIVES = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 1.0]])


class MeanColour(nn.Module):
    """The mean colour as an embedding, and the colour of each quarter as a patch."""

    def forward(self, images):
        patches = nn.functional.avg_pool2d(images, images.shape[-1] // 2)
        return images.mean((2, 3)), patches


def network(**more):
    return TextNetwork(MeanColour(), TEXTS, **{"negatives": NEGATIVES, **more}).eval()


def coloured(*colours):
    """Images of one colour each, (N, 3, 4, 4)."""
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 4).clone()


def attached(name, of=None, **parameters):
    cls = discover()[name]
    detector = cls(cls.Parameters(**parameters))
    detector.attach(of or network(), 2)
    return detector


def test_logits_are_cosines_over_the_temperature_and_features_have_unit_length():
    found = network(temperature=0.5).represent(coloured([0.6, 0.8, 0.0], [0.0, 0.3, 0.4]))
    half = 0.5**0.5
    cosines = [[0.6, 0.8, 0.0, 0.6 * half], [0.0, 0.6, 0.8, 0.8 * half]]
    assert found.logits.numpy() == pytest.approx(np.array(cosines) / 0.5, abs=1e-6)
    assert found.features.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert found.taps[0].shape == (2, 3, 2, 2)


def test_mcm_is_the_softmax_of_cosines_whatever_the_networks_temperature():
    images = coloured([0.6, 0.8, 0.0])
    for temperature in (0.01, 0.5):
        found = attached("mcm", network(temperature=temperature)).score(images)
        # Of two classes the log-odds are the difference of the cosines.
        assert found.tolist() == pytest.approx([0.2], abs=1e-6)
    assert attached("mcm", temperature=0.1).score(images).tolist() == pytest.approx([2.0], abs=1e-5)


def test_neglabel_is_the_mean_share_over_groups():
    half = 0.5**0.5
    ours = math.exp(0.6) + math.exp(0.8)
    shares = [ours / (ours + math.exp(0.0)), ours / (ours + math.exp(0.6 * half))]
    mean = sum(shares) / 2
    found = attached("neglabel", temperature=1.0, groups=5).score(coloured([0.6, 0.8, 0.0]))
    assert found.tolist() == pytest.approx([math.log(mean / (1 - mean))], abs=1e-6)
    share = ours / (ours + math.exp(0.0) + math.exp(0.6 * half))
    found = attached("neglabel", temperature=1.0, groups=1).score(coloured([0.6, 0.8, 0.0]))
    assert found.tolist() == pytest.approx([math.log(share / (1 - share))], abs=1e-6)


def test_neglabel_tells_images_apart_where_a_share_would_be_one():
    scores = attached("neglabel").score(coloured([1.0, 0.0, 0.0], [1.0, 0.05, 0.0]))
    shares = discover()["neglabel"].as_published(scores.numpy())
    assert scores[0] != scores[1]
    assert shares.max() == 1.0


def test_gl_mcm_looks_for_the_best_patch_too():
    images = torch.zeros(1, 3, 4, 4)
    images[:, 0, :2, :2] = 1.0  # one quarter is of the first class, the rest is dark blue
    images[:, 2, 2:] = 0.5
    images[:, 2, :2, 2:] = 0.5
    red, blue = 0.25, 0.375
    cosine = red / math.hypot(red, blue)
    whole, patch = 1 / (1 + math.exp(-cosine)), 1 / (1 + math.exp(-1.0))
    assert attached("gl-mcm").score(images).tolist() == pytest.approx([whole + patch], abs=1e-6)
    assert attached("gl-mcm", share=0.5).score(images).tolist() == pytest.approx([whole + patch / 2], abs=1e-6)


class Plain(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        (
            "neglabel",
            network(negatives=None),
            "neglabel needs texts of no class, as outputs of the",
        ),
        ("gl-mcm", TextNetwork(Plain(), TEXTS), "gl-mcm needs patch tokens in the space of the embeddings"),
        ("mcm", "bias", "mcm compares images with texts"),
        ("mcm", "lengths", "its rows are of several lengths"),
    ],
)
def test_what_a_network_lacks_is_said_by_name(name, of, said):
    if isinstance(of, str):
        kind, of = of, network()
        with torch.no_grad():
            (of.fc.bias if kind == "bias" else of.fc.weight)[0] += 50.0
    with pytest.raises(OodbenchError, match=re.escape(said)):
        attached(name, of).score(coloured([0.6, 0.8, 0.0]))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: network(temperature=0.0), "temperature is 0.0"),
        (lambda: network(temperature=float("nan")), "temperature is nan"),
        (lambda: TextNetwork(Plain(), TEXTS[:1]), "texts: 1 rows are too few"),
        (lambda: TextNetwork(Plain(), torch.zeros(2, 3)), "texts: row 0 is not finite, or points nowhere"),
        (lambda: TextNetwork(Plain(), torch.full((2, 3), torch.nan)), "texts: row 0 is not finite"),
        (lambda: TextNetwork(Plain(), torch.ones(6)), "texts: torch.float32 (6,) is not a matrix"),
        (lambda: TextNetwork(Plain(), torch.ones(2, 3, dtype=torch.int64)), "is not a matrix of embeddings"),
        (lambda: network(negatives=torch.ones(2, 4)), "texts are 3 wide and negatives 4"),
        (lambda: TextNetwork(Plain(), torch.eye(4)).represent(coloured([1.0, 0, 0])), "gives (1, 3) for 1 images"),
        (lambda: TimmTower("no-such-tower", 8), "timm cannot make an image tower 'no-such-tower'"),
    ],
)
def test_what_is_no_such_network_is_refused(made, said):
    with pytest.raises(OodbenchError, match=re.escape(said)):
        made()


def test_embeddings_are_read_from_a_file_and_what_is_none_is_said(tmp_path):
    save_file({"texts": TEXTS.half()}, tmp_path / "one")
    save_file({"texts": TEXTS, "other": NEGATIVES}, tmp_path / "two")
    (tmp_path / "broken").write_bytes((tmp_path / "one").read_bytes()[:-3])
    assert embeddings(tmp_path / "one").tolist() == TEXTS.tolist()
    assert embeddings(tmp_path / "two", "other").tolist() == NEGATIVES.tolist()
    for name, which, said in (
        ("two", "", "has 2 tensors (other, texts): say which"),
        ("two", "third", "has no tensor 'third'"),
        ("broken", "", "cannot read embeddings"),
        ("none", "", "cannot read embeddings"),
    ):
        with pytest.raises(OodbenchError, match=re.escape(said)):
            embeddings(tmp_path / name, which)


def test_a_vision_transformer_of_timm_gives_patches_where_the_image_has_them():
    tower = TimmTower("vit_base_patch16_clip_224", 8, **SMALL).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole, patches = tower(images)
        assert torch.equal(whole, tower.body(images))
        assert patches.shape == (2, 8, 4, 4)
        last = tower.body.forward_features(images)
        # The prefix comes first, then the patches row by row.
        assert torch.allclose(patches[:, :, 1, 2], tower.body.head(last[:, 1 + 4 + 2]), atol=1e-6)


def test_a_run_over_a_network_like_clip_and_over_its_features_gives_the_same(oodbench, tmp_path):
    generator = np.random.default_rng(3)
    images = {name: generator.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8) for name in ("id", "far")}
    images["far"][:, :, :, 0] //= 4
    torch.manual_seed(0)
    tower = TimmTower("vit_base_patch16_clip_224", 8, **SMALL).eval()
    clip = TextNetwork(tower, torch.randn(3, 8), negatives=torch.randn(5, 8)).eval()
    known = ImageSet("id", images["id"], np.arange(12) % 3, "drawn")
    names = ["mcm", "neglabel", "gl-mcm", "maxlogit"]
    frame = ood.benchmark(clip, known, {"far": images["far"]}, detectors=names, classes=3)
    on_images = frame[frame.metric == "auroc"].set_index("detector")["value"].to_dict()
    assert set(on_images) == set(names)
    with torch.no_grad():
        found = {
            name: clip.represent(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255) for name, pixels in images.items()
        }
    arrays = {name: {"logits": one.logits, "features": one.features} for name, one in found.items()}
    head = clip.fc.weight, clip.fc.bias
    ood.write_features("clip", {**arrays["id"], "labels": known.labels}, {"far": arrays["far"]}, head=head, classes=3)
    methods = [word for name in ("mcm", "neglabel", "maxlogit") for word in ("--detector", name)]
    code, _, err = oodbench("run", "--features", "clip", *methods)
    assert code == 0, err
    stored = ood.load_results("results")
    of_pack = stored[stored.metric == "auroc"].set_index("detector")["value"].to_dict()
    assert of_pack == {name: on_images[name] for name in ("mcm", "neglabel", "maxlogit")}
    code, _, err = oodbench("run", "--features", "clip", "--detector", "gl-mcm")
    assert code == 2
    assert "gl-mcm needs feature maps (taps)" in err
