"""The CTC loss that a GPU can record is torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sign_models.models.ctc import Scan, ctc_loss

BLANK, TOKENS = 0, 5


@given(st.integers(1, 20), st.integers(1, 6), st.integers(0, 10_000))
def test_loss_and_gradient_are_those_of_torch(longest: int, words: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(4, longest, TOKENS, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, TOKENS, (4, words))
    steps, lengths = torch.randint(1, longest + 1, (4,)), torch.randint(0, words + 1, (4,))
    log_p = logits.float().log_softmax(-1)
    ours = Scan.apply(log_p, targets, steps, lengths, BLANK)
    theirs = ctc_loss(log_p, targets, steps, lengths, blank=BLANK, zero_infinity=False)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-5)
    weight = torch.rand(4)
    asked = (torch.where(ours.isinf(), 0.0, ours) * weight).sum()
    wanted = F.ctc_loss(log_p.transpose(0, 1), targets, steps, lengths, reduction="none", zero_infinity=True) * weight
    found, expected = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (asked, wanted.sum()))
    assert torch.allclose(found, expected, atol=1e-4)
