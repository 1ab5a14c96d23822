"""Towers of open_clip under a network of texts: logits are open_clip's own, and patches lie in the texts' space."""

import pytest
import torch
from torch.nn.functional import normalize

from oodbench.detectors.mcm import GLMCM, MCM
from oodbench.networks.of_open_clip import OpenClipTower
from oodbench.networks.of_text import TextNetwork

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is one of the packages of oodbench[dev]")

WIDTH, SIDE, PATCH = 16, 32, 8


def clip(**vision):
    """A model of open_clip, as small as it gets, with random weights."""
    usual = {"layers": 2, "width": 32, "head_width": 16, "patch_size": PATCH, "image_size": SIDE}
    seen = open_clip.CLIPVisionCfg(**usual | vision)
    read = open_clip.CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=1)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return open_clip.CLIP(WIDTH, seen, read).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    return clip()


@pytest.fixture(scope="module")
def words():
    return torch.randint(1, 50, (3, 8), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def test_logits_are_those_of_open_clip(model, words, images):
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    temperature = float(1 / model.logit_scale.exp())
    texts = model.encode_text(words)
    network = TextNetwork(OpenClipTower(model.visual), texts, temperature, mean=mean, std=std).eval()
    normalised = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    expected, _ = model.get_logits(normalised, words)
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)
    bare = TextNetwork(model.visual, texts, temperature, mean=mean, std=std).eval()
    torch.testing.assert_close(bare(images), expected, rtol=1e-4, atol=1e-4)


def test_a_patch_goes_through_norm_and_projection_where_it_stands(model, images):
    embeddings, patches = OpenClipTower(model.visual).eval()(images)
    assert torch.equal(embeddings, model.encode_image(images))
    assert patches.shape == (4, WIDTH, SIDE // PATCH, SIDE // PATCH)
    visual = model.visual
    last = visual.ln_post(visual.transformer(visual._embeds(images))) @ visual.proj
    # The whole image comes first, then the patches row by row.
    torch.testing.assert_close(patches[:, :, 1, 2], last[:, 1 + 4 + 2])
    torch.testing.assert_close(embeddings, last[:, 0])


def test_detectors_of_texts_score_it_and_reach_its_pixels(model, words, images):
    network = TextNetwork(OpenClipTower(model.visual), model.encode_text(words)).eval()
    whole, parts = MCM(), GLMCM()
    for detector in (whole, parts):
        detector.attach(network, 3)
        detector.settle()
    cosines = (
        normalize(network.represent(images).taps[-1].flatten(2).double(), dim=1).transpose(1, 2)
        @ normalize(model.encode_text(words).double()).T
    )
    best = torch.softmax(cosines / parts.parameters.temperature, 2).amax((1, 2))
    of_whole = torch.sigmoid(whole.score(images))
    torch.testing.assert_close(parts.score(images), of_whole + best, rtol=1e-5, atol=1e-6)
    seen = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(parts.score(seen).sum(), seen)
    assert gradient.abs().sum((1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    "vision", [{"attentional_pool": True, "attn_pooler_heads": 2}, {"layers": (1, 1, 1, 1), "width": 8}]
)
def test_towers_without_patches_give_the_whole_image(vision, images):
    model = clip(**vision)
    embeddings, patches = OpenClipTower(model.visual)(images)
    assert patches is None
    assert torch.equal(embeddings, model.encode_image(images))


def test_a_tower_that_gives_its_own_tokens_gives_the_whole_image(images):
    model = clip(output_tokens=True, attentional_pool=True, attn_pooler_heads=2)
    embeddings, patches = OpenClipTower(model.visual)(images)
    assert (embeddings.shape, patches) == ((4, WIDTH), None)
