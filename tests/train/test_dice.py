"""Dice with cross-entropy is the formula in the papers, blind to unknown voxels, and pulls in the right direction."""

import numpy as np
import pytest
import torch

from sepvox.train.dice import UNKNOWN, DiceCrossEntropy

SHAPE = (2, 3, 4, 5, 6)


def _case(seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator)
    labels = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, labels


def _numpy_loss(logits, labels, background, batch, smooth=1e-5):
    logits, labels = logits.double().numpy(), labels.numpy()
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = np.moveaxis(exponentials / exponentials.sum(axis=1, keepdims=True), 1, -1)
    groups = [np.arange(len(p))] if batch else [[i] for i in range(len(p))]
    scores = []
    for group in groups:
        known = labels[group] >= 0
        for label in range(0 if background else 1, p.shape[-1]):
            predicted, true = p[group][known][:, label], labels[group][known] == label
            scores.append((2 * (predicted * true).sum() + smooth) / (predicted.sum() + true.sum() + smooth))
    known = labels >= 0
    entropy = -np.log(p[known][np.arange(known.sum()), labels[known]])
    return 1 - np.mean(scores) + entropy.sum() / max(1, known.sum())


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_loss_is_the_formula(background, batch, unknown):
    logits, labels = _case()
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < unknown] = UNKNOWN
    loss = DiceCrossEntropy(background=background, batch=batch)(logits, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_numpy_loss(logits, labels, background, batch), rel=1e-5)


def test_unknown_voxels_change_neither_loss_nor_gradient():
    logits, labels = _case()
    unknown = torch.zeros(labels.shape, dtype=torch.bool)
    unknown[:, 2:] = True
    labels[unknown] = UNKNOWN
    wild = torch.where(unknown[:, None], 1e4 * logits, logits).requires_grad_()
    loss = DiceCrossEntropy(batch=True)(wild, labels)
    loss.backward()
    assert loss.item() == pytest.approx(DiceCrossEntropy(batch=True)(logits, labels).item())
    assert not wild.grad[:, :, 2:].any()
    assert wild.grad[:, :, :2].all()


def test_where_nothing_is_known_loss_and_gradient_are_zero():
    logits, labels = _case()
    logits.requires_grad_()
    loss = DiceCrossEntropy()(logits, torch.full_like(labels, UNKNOWN))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_perfect_prediction_costs_nothing_and_a_swap_of_classes_costs_dice_1():
    _, labels = _case()
    sure = 50 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    assert DiceCrossEntropy()(sure, labels).item() == pytest.approx(0, abs=1e-4)
    assert DiceCrossEntropy()(sure, (labels + 1) % 3).item() == pytest.approx(1 + 50, abs=1e-3)


def test_gradient_raises_the_true_class_at_every_voxel():
    logits, labels = _case()
    logits = torch.zeros_like(logits).requires_grad_()
    DiceCrossEntropy(background=True)(logits, labels).backward()
    true = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).bool()
    assert (logits.grad[true] < 0).all()
    assert (logits.grad[~true] > 0).all()


def test_gradient_is_the_numerical_one():
    logits, labels = _case(shape=(1, 3, 2, 2, 2))
    labels[0, 0, 0, 0] = UNKNOWN
    logits.requires_grad_()
    loss = DiceCrossEntropy(batch=True)
    loss(logits, labels).backward()
    step = 1e-4 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    change = [_numpy_loss(logits.detach() + sign * step, labels, False, True) for sign in (1, -1)]
    assert (logits.grad * step).sum().item() == pytest.approx((change[0] - change[1]) / 2, rel=1e-2)


def test_lower_levels_weigh_a_half_each_and_meet_the_middle_voxel_of_each_cell():
    logits, labels = _case(shape=(2, 3, 4, 8, 8))
    half, _ = _case(1, shape=(2, 3, 4, 4, 4))
    quarter, _ = _case(2, shape=(2, 3, 2, 2, 2))
    loss = DiceCrossEntropy()
    expected = (
        4 * loss(logits, labels) + 2 * loss(half, labels[:, :, 1::2, 1::2]) + loss(quarter, labels[:, 1::2, 2::4, 2::4])
    ) / 7
    assert loss([logits, half, quarter], labels).item() == pytest.approx(expected.item())
    assert loss([logits], labels).item() == pytest.approx(loss(logits, labels).item())


def test_autocast_does_not_lower_the_precision():
    logits, labels = _case()
    with torch.autocast("cpu", torch.bfloat16):
        inside = DiceCrossEntropy()(logits, labels)
    assert inside.dtype == torch.float32
    assert inside.item() == DiceCrossEntropy()(logits, labels).item()
    assert DiceCrossEntropy()(logits.bfloat16(), labels).item() == pytest.approx(inside.item(), rel=1e-2)


@pytest.mark.parametrize(
    ("logits", "message"),
    [((1, 1, 4, 4, 4), "two classes"), ((2, 3, 4, 4, 4), "expected"), ((1, 3, 3, 4, 4), "do not divide")],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        DiceCrossEntropy()(torch.zeros(logits), torch.zeros(1, 4, 4, 4, dtype=torch.int64))
