import pytest
import torch
from torch.nn import functional

from sepvox.train.losses import RAREST, pointwise_loss

SHAPE = (2, 3, 4, 5, 6)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SHAPE, generator=generator)
    targets = (torch.rand(SHAPE, generator=generator) < 0.8).to(torch.uint8)
    mask = torch.rand(SHAPE, generator=generator) < 0.7
    return logits, targets, mask


@pytest.mark.parametrize("kind", ["bce", "mse"])
def test_without_balance_it_is_the_mean_over_known_voxels(batch, kind) -> None:
    logits, targets, mask = batch
    reference = {
        "bce": lambda a, t: functional.binary_cross_entropy(torch.sigmoid(a), t),
        "mse": lambda a, t: functional.mse_loss(torch.sigmoid(a), t),
    }[kind]
    channels = [reference(logits[:, c][mask[:, c]], targets[:, c][mask[:, c]].float()) for c in range(3)]
    assert pointwise_loss(logits, targets, mask, kind, False).item() == pytest.approx(
        torch.stack(channels).mean().item(), rel=1e-5
    )


@pytest.mark.parametrize("kind", ["bce", "mse"])
@pytest.mark.parametrize("balance", [True, False])
def test_unknown_voxels_change_neither_loss_nor_gradient(batch, kind, balance) -> None:
    logits, targets, mask = batch
    results = []
    for fill in (-3.0, 3.0):
        leaf = torch.where(mask, logits, fill).requires_grad_()
        loss = pointwise_loss(leaf, torch.where(mask, targets, int(fill > 0)), mask, kind, balance)
        loss.backward()
        assert not leaf.grad[~mask].any()
        results.append((loss.item(), leaf.grad[mask]))
    assert results[0][0] == pytest.approx(results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_balance_gives_both_classes_the_same_gradient(batch) -> None:
    _, targets, mask = batch
    logits = torch.zeros(SHAPE, requires_grad=True)
    pointwise_loss(logits, targets, mask, "bce", True).backward()
    for channel in range(3):
        ones = logits.grad[:, channel][mask[:, channel] & (targets[:, channel] == 1)].sum()
        zeros = logits.grad[:, channel][mask[:, channel] & (targets[:, channel] == 0)].sum()
        assert ones.item() == pytest.approx(-zeros.item(), rel=1e-5)
        assert zeros.item() > 0


def test_balance_is_taken_over_the_whole_batch() -> None:
    targets = torch.zeros((2, 1, 1, 1, 4))
    targets[0] = 1
    logits = torch.full(targets.shape, 2.0)
    mask = torch.ones(targets.shape, dtype=torch.bool)
    expected = (functional.softplus(torch.tensor(-2.0)) + functional.softplus(torch.tensor(2.0))) / 2
    assert pointwise_loss(logits, targets, mask, "bce", True).item() == pytest.approx(expected.item())


def test_one_voxel_of_a_class_does_not_make_half_of_the_gradient() -> None:
    targets = torch.ones((1, 1, 1, 100, 100))
    targets[..., 0, 0] = 0
    logits = torch.zeros(targets.shape, requires_grad=True)
    pointwise_loss(logits, targets, torch.ones(targets.shape, dtype=torch.bool), "bce", True).backward()
    assert logits.grad[..., 0, 0].item() == pytest.approx(0.5 * 0.5 / (RAREST * 10_000))


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("kind", ["bce", "mse"])
def test_an_absent_class_is_safe(value, kind) -> None:
    logits = torch.randn(SHAPE, requires_grad=True)
    targets = torch.full(SHAPE, value)
    loss = pointwise_loss(logits, targets, torch.ones(SHAPE, dtype=torch.bool), kind, True)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.any()


@pytest.mark.parametrize("balance", [True, False])
def test_nothing_known_is_a_loss_of_zero_with_zero_gradient(balance) -> None:
    logits = torch.randn(SHAPE, requires_grad=True)
    loss = pointwise_loss(logits, torch.ones(SHAPE), torch.zeros(SHAPE, dtype=torch.bool), "bce", balance)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_channel_weights_are_relative_and_skip_channels_without_targets(batch) -> None:
    logits, targets, mask = batch
    single = [
        pointwise_loss(logits[:, c : c + 1], targets[:, c : c + 1], mask[:, c : c + 1], "bce", True) for c in range(3)
    ]
    weights = torch.tensor([2.0, 1.0, 0.0])
    loss = pointwise_loss(logits, targets, mask, "bce", True, weights)
    assert loss.item() == pytest.approx(((2 * single[0] + single[1]) / 3).item(), rel=1e-5)
    mask = mask.clone()
    mask[:, 0] = False
    assert pointwise_loss(logits, targets, mask, "bce", True, weights).item() == pytest.approx(single[1].item())


def test_gradient_agrees_with_finite_differences(batch) -> None:
    logits, targets, mask = batch
    for kind in ("bce", "mse"):
        leaf = logits.clone().requires_grad_()
        pointwise_loss(leaf, targets, mask, kind, True).backward()
        direction = torch.sign(leaf.grad)
        step = 1e-2
        up = pointwise_loss(logits + step * direction, targets, mask, kind, True)
        down = pointwise_loss(logits - step * direction, targets, mask, kind, True)
        assert ((up - down) / (2 * step)).item() == pytest.approx(leaf.grad.abs().sum().item(), rel=1e-3)


def test_half_precision_logits_are_computed_in_float32(batch) -> None:
    logits, targets, mask = batch
    loss = pointwise_loss(logits.bfloat16(), targets, mask, "mse", True)
    assert loss.dtype == torch.float32
    assert loss.item() == pointwise_loss(logits.bfloat16().float(), targets, mask, "mse", True).item()


def test_shapes_must_agree(batch) -> None:
    logits, targets, mask = batch
    with pytest.raises(ValueError, match="differ in shape"):
        pointwise_loss(logits, targets[:1], mask[:1], "bce", True)
