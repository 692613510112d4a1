"""Tagged: which parts of a text have a name, and which.

Shape letters: B rows, N tokens of all windows of a row side by side, L of one window, K labels, G parts that are tagged, M those that are said.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from omnitune.nn.heads import RowHead
from omnitune.nn.metrics import Array
from omnitune.nn.tokens import Loss, View

Part = tuple[int, int, int, float]
"""Where it starts and stops, in characters, its label, and how likely it is."""
OUTSIDE = 0


class TagHead(RowHead):
    """Of each token whether it lies outside of all parts, begins one, or goes on with one: 1 + 2 K classes (Ramshaw and Marcus 1995,
    https://aclanthology.org/W95-0107; read from a Transformer's tokens as in Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 5.3). A
    token that goes on with nothing begins. Where windows overlap, the one speaks that sees most on both sides of a token.

    Target: `tags` (B, N), the class of each token, -1 of those that are not asked for; `gold` (B, G, 3), the parts, -1 behind the last.

    Args:
        of: the input.
        width: D of its tokens.
        labels: K.
    """

    def __init__(self, of: str, width: int, labels: int) -> None:
        super().__init__()
        self.of, self.labels, self.tag = of, labels, nn.Linear(width, 1 + 2 * labels)
        nn.init.normal_(self.tag.weight, std=0.02)
        nn.init.zeros_(self.tag.bias)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Cross-entropy, summed over tokens."""
        return self._loss(self._scores(view), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 2 K + 1): of each label how many parts are right and how many are said, and how many tokens are right; and the loss."""
        scores_BNC = self._scores(view)
        right_B = ((scores_BNC.argmax(2) == target["tags"]) & (target["tags"] >= 0)).sum(1).cpu()
        gold = [[tuple(part) for part in row if part[0] >= 0] for row in target["gold"].tolist()]
        counts = counted(gold, self._parts(view, scores_BNC), self.labels)
        return torch.cat([torch.from_numpy(counts), right_B[:, None]], 1), self._loss(scores_BNC, target)

    def predict(self, view: View) -> Tensor:
        """(B, M, 4): where each part starts and stops, its label and how likely it is; -1 behind the last."""
        rows = self._parts(view, self._scores(view))
        found = torch.full((len(rows), max(1, *map(len, rows)), 4), -1.0)
        for i, row in enumerate(rows):
            found[i, : len(row)] = torch.tensor(row).reshape(-1, 4)
        return found

    def _scores(self, view: View) -> Tensor:
        x_BND = view.streams[self.of].x_BLD
        with torch.autocast(x_BND.device.type, enabled=False):
            scores: Tensor = self.tag(x_BND.float())
        return scores

    def _loss(self, scores_BNC: Tensor, target: dict[str, Tensor]) -> Loss:
        total = cross_entropy(scores_BNC.flatten(0, 1), target["tags"].flatten(), ignore_index=-1, reduction="sum")
        return Loss(total, target["weight"].sum())

    @torch.no_grad()
    def _parts(self, view: View, scores_BNC: Tensor) -> list[list[Part]]:
        inputs = view.inputs[self.of]
        windows = inputs["input_ids"].shape[1]
        p_BN, best_BN = (tensor.cpu().numpy() for tensor in scores_BNC.softmax(2).max(2))
        places = [inputs[name].cpu().numpy() for name in ("start", "stop")]
        return [joined(*(of[i].reshape(windows, -1) for of in (*places, best_BN, p_BN))) for i in range(len(best_BN))]


def joined(start_WL: Array, stop_WL: Array, best_WL: Array, p_WL: Array) -> list[Part]:
    """The parts that the classes `best` of tokens say, each as likely as all of its tokens together; a token's own place says which are the same."""
    there_WL = stop_WL > start_WL
    order_WL = there_WL.cumsum(1) - 1
    sees_WL = np.minimum(order_WL, there_WL.sum(1, keepdims=True) - 1 - order_WL)
    start, stop, best, p, sees = (of[there_WL] for of in (start_WL, stop_WL, best_WL, p_WL, sees_WL))
    order = np.lexsort((-sees, start))
    first = order[np.unique(start[order], return_index=True)[1]]
    found: list[Part] = []
    before = OUTSIDE
    for i in first.tolist():
        tag, label = int(best[i]), (int(best[i]) - 1) // 2
        if tag != OUTSIDE:
            goes_on = tag % 2 == 0 and before in (tag, tag - 1)
            at, _, _, likely = found.pop() if goes_on else (int(start[i]), 0, 0, 1.0)
            found.append((at, int(stop[i]), label, likely * float(p[i])))
        before = tag
    return found


def tags(start_BN: Tensor, stop_BN: Tensor, gold_BG3: Tensor) -> Tensor:
    """The class of each token, (B, N): as `TagHead` has them, -1 where no text stands. A token that lies in two parts is of the later one."""
    there_BN = stop_BN > start_BN
    found_BN = torch.where(there_BN, OUTSIDE, -1)
    for part_B3 in gold_BG3.unbind(1):
        first_B1, last_B1, label_B1 = part_B3[:, :1], part_B3[:, 1:2], part_B3[:, 2:]
        inside_BN = there_BN & (start_BN < last_B1) & (stop_BN > first_B1)
        begins_B1 = start_BN.where(inside_BN, torch.iinfo(torch.int64).max).amin(1, keepdim=True)
        found_BN = torch.where(inside_BN, 2 + 2 * label_B1 - (start_BN == begins_B1).long(), found_BN)
    return found_BN


def counted(gold: list[list[tuple[int, ...]]], said: list[list[Part]], labels: int) -> Array:
    """(n, 2 K): of each label how many parts are right, first and last character and label, and how many are said."""
    counts = np.zeros((len(gold), 2 * labels), np.int64)
    for i, (true, parts) in enumerate(zip(gold, said, strict=True)):
        known = set(true)
        for start, stop, label, _ in parts:
            counts[i, labels + label] += 1
            counts[i, label] += (start, stop, label) in known
    return counts
