"""What the training step is measured against does what it is said to do."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from medstrata.pretraining.info_nce import info_nce

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Only while importing: two of its files have the names of files that tests import.
sys.path.insert(0, str(BENCHMARKS))
import peers  # noqa: E402

sys.path.remove(str(BENCHMARKS))
CASE = peers.Case("test_resnet", 32, 4, 10)


def test_plain_moco_has_our_loss_and_moves_its_queue_and_keys() -> None:
    model = peers.PlainMoCo(CASE).eval()
    views = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    query = F.normalize(model.query(views[0]), dim=1)
    key = F.normalize(model.key(views[1]), dim=1)
    ours = info_nce(query, key, model.queue.T.clone(), peers.TEMPERATURE)
    assert model.loss(*views).item() == pytest.approx(ours.loss.item(), rel=1e-5)
    torch.testing.assert_close(model.queue[:, :4], key.T)
    with torch.no_grad():
        weight = next(model.query.parameters()).add_(1)
    before = next(model.key.parameters()).clone()
    model.update_keys()
    moved = next(model.key.parameters())
    torch.testing.assert_close(moved, 0.999 * before + 0.001 * weight)


@pytest.mark.parametrize("how", [peers.AS_IT_SHIPS, peers.LIKE_FOR_LIKE])
def test_a_peers_step_learns(how: peers.Manner) -> None:
    torch.manual_seed(0)
    step = peers.step("plain PyTorch", CASE._replace(queue=64), how)
    model = step.__closure__  # type: ignore[attr-defined]
    (built,) = (cell.cell_contents for cell in model if hasattr(cell.cell_contents, "queue"))
    before = next(built.query.parameters()).detach().clone()
    step()
    assert not torch.equal(before, next(built.query.parameters()))
