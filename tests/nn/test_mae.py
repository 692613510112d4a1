import math

import pytest
import torch

import vits
from omnitune.nn import patches
from omnitune.nn.mae import MAE, Decoder, choose, targets
from omnitune.nn.pixels import PixelHead, costs
from omnitune.nn.tokens import Tokens, View


def test_a_share_of_the_patches_is_hidden_and_none_twice() -> None:
    for share, kept in ((0.75, 4), (0.5, 8), (0.01, 15), (0.99, 1)):
        visible, hidden = choose(vits.noise(3), share)
        assert visible.shape == (3, kept) and hidden.shape == (3, 16 - kept)
        assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values, torch.arange(16).expand(3, -1))


def test_targets_are_pixels_or_pixels_in_units_of_their_patch() -> None:
    pixels = vits.pictures()
    assert torch.equal(targets(pixels, 4, False), patches.cut(pixels, 4))
    own = targets(pixels, 4, True)
    torch.testing.assert_close(own.mean(-1), torch.zeros(2, 16), rtol=0, atol=1e-5)
    torch.testing.assert_close(own.std(-1), torch.ones(2, 16), rtol=1e-4, atol=0)
    assert not targets(torch.ones(1, 3, 16, 16), 4, True).any(), "a plain patch has nothing to say"


def test_fewer_tokens_are_computed() -> None:
    model, seen = vits.mae(), []
    for block in model.model.blocks:
        block.register_forward_hook(lambda module, given, output: seen.append(output.shape[1]))
    drawn = []
    model.decoder.pixels.register_forward_hook(lambda module, given, output: drawn.append(output.shape[1]))
    model(vits.pictures())
    assert seen == [5, 5, 5] and drawn == [12]


def test_what_is_visible_and_what_is_hidden_decide_apart() -> None:
    model, pixels, noise = vits.mae(), vits.pictures(), vits.noise()
    found = model(pixels, noise)
    hidden = torch.zeros(2, 16).scatter(1, found.hidden, 1.0).view(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other = model(pixels + hidden, noise)
    assert torch.equal(other.drawn, found.drawn) and not torch.equal(other.loss, found.loss)
    assert not torch.equal(model(pixels + 1 - hidden, noise).drawn, found.drawn)
    assert not torch.equal(model(pixels).visible, model(pixels).visible), "drawn anew"


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = MAE(vits.mae_config(decoder_hidden_size=96))
    assert not model.model.embeddings.positions.requires_grad and torch.equal(model.model.embeddings.positions[1:], patches.sincos(4, 4, 32))
    for name, weight in model.decoder.named_parameters():
        if name == "hidden":
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.3)
        elif weight.ndim == 2:
            products = 3 if name.endswith("qkv.weight") else 1
            outputs, inputs = weight.shape
            assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / (outputs / products + inputs)), rel=0.06), name
    assert float(model(vits.pictures(64)).loss.detach()) == pytest.approx(2, rel=0.5)


def test_it_learns_pictures_by_heart() -> None:
    torch.manual_seed(0)
    model, pixels, noise = MAE(vits.mae_config()), vits.pictures(2), vits.noise(2)
    learner = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 5e-3)
    for _ in range(300):
        learner.zero_grad()
        loss = model(pixels, noise).loss
        loss.backward()
        learner.step()
    assert loss < 0.05


# the head


def head(normalise: bool = True) -> PixelHead:
    torch.manual_seed(0)
    return PixelHead("photo", Decoder(32, (4, 4), 48, 24, 1, 2), 4, [0.5] * 3, [0.5] * 3, normalise)


def question(n: int) -> tuple[View, dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    visible, hidden = choose(vits.noise(n), 0.75)
    x = torch.randn(n, 5, 32, generator=random)
    pixels = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=random)
    view = View({"photo": Tokens(x, torch.ones(n, 5, dtype=torch.bool), "first")}, Tokens(x, torch.ones(n, 5, dtype=torch.bool)))
    return view, {"pixels": pixels, "visible": visible, "hidden": hidden, "weight": torch.ones(n), "y": torch.full((n, 1), 12.0 * 48)}


def part(view: View, chosen: slice) -> View:
    tokens = view.streams["photo"]
    return View({"photo": Tokens(tokens.x_BLD[chosen], tokens.mask_BL[chosen])}, view.fused)


@pytest.mark.parametrize("normalise", [False, True])
def test_the_loss_is_exact_however_rows_are_grouped(normalise: bool) -> None:
    made, (view, target) = head(normalise), question(7)
    target["weight"][3] = 0.0
    whole = made.loss(view, target)
    pieces = [made.loss(part(view, p), {k: t[p] for k, t in target.items()}) for p in (slice(0, 1), slice(1, 4), slice(4, 7))]
    torch.testing.assert_close(sum(piece.sum for piece in pieces), whole.sum)
    assert whole.count == 6 == sum(piece.count for piece in pieces)
    found, loss = made.measure(view, target)
    assert torch.equal(loss.sum, whole.sum) and found.shape == (7, 2)
    torch.testing.assert_close((found[:, 0] / target["y"][:, 0])[target["weight"] > 0].mean(), whole.mean)
    wanted = patches.at(made.wanted(target), target["hidden"])
    torch.testing.assert_close(found[:, 1], wanted.flatten(1).var(1, correction=0) * 12 * 48)
    assert not costs(wanted, wanted)[:, 0].any()


def test_halves_of_precision_do_not_reach_the_loss() -> None:
    made, (view, target) = head(), question(4)
    with torch.autocast("cpu", torch.bfloat16):
        loss, (found, _) = made.loss(view, target), made.measure(view, target)
    assert loss.sum.dtype == found.dtype == torch.float32
    torch.testing.assert_close(loss.mean, made.loss(view, target).mean, rtol=0.05, atol=0)
