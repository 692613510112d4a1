"""Whether a compiled model or ONNX Runtime answers sooner than the flat rows of `omnitune predict`, forward passes alone.

pip install onnx onnxruntime onnxscript && python benchmarks/runtimes.py [ROUNDS]

MiniLM, 640 reviews sorted by length in batches of 32; the tokens of all four are the same to 1e-3. ONNX Runtime is given the graph with all of
its optimisations; both others pad. Compiling takes long and pays only where a process answers for hours: its seconds are told.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timing import interleaved, table
from inputs import BATCH, TOKENS, new_reviews
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from omnitune import samples
from omnitune.backbones.pretrained import Pretrained

ROWS = 640


class Tokens(nn.Module):
    """`last_hidden_state` of a backbone, as a graph wants it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, L) to (B, L, D)."""
        tokens: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return tokens


def batches(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Token numbers and masks, of like length each."""
    rows = sorted(AutoTokenizer.from_pretrained(folder)(new_reviews(ROWS), truncation=True, max_length=TOKENS)["input_ids"], key=len)
    made = []
    for start in range(0, len(rows), BATCH):
        some = [torch.tensor(row) for row in rows[start : start + BATCH]]
        ids = nn.utils.rnn.pad_sequence(some, batch_first=True)
        lengths = torch.tensor([len(row) for row in some])
        made.append((ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()))
    return made


def onnx_session(folder: Path, example: tuple[Tensor, Tensor], place: Path) -> Any:
    """The same model in ONNX Runtime, for batches of any shape."""
    import onnxruntime

    eager = Tokens(AutoModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval())
    B, L = torch.export.Dim("B", min=2, max=512), torch.export.Dim("L", min=2, max=TOKENS)
    torch.onnx.export(
        eager, example, place / "model.onnx", dynamo=True, input_names=["input_ids", "attention_mask"], dynamic_shapes=({0: B, 1: L}, {0: B, 1: L}),
        verbose=False,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(place / "model.onnx", options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def main(rounds: int = 7) -> None:
    folder = samples.path("minilm-l6")
    given, ours = batches(folder), Pretrained("sample:minilm-l6").encoder()
    padded = Tokens(AutoModel.from_pretrained(folder, add_pooling_layer=False).eval())
    compiled = torch.compile(padded, dynamic=True)
    with tempfile.TemporaryDirectory() as place:
        session = onnx_session(folder, given[len(given) // 2], Path(place))
        cases = {
            "flat rows": lambda: [ours(input_ids=ids, attention_mask=mask).x_BLD.numpy() for ids, mask in given],
            "padded": lambda: [padded(ids, mask).numpy() for ids, mask in given],
            "padded, compiled": lambda: [compiled(ids, mask).numpy() for ids, mask in given],
            "ONNX Runtime": lambda: [session.run(None, {"input_ids": i.numpy(), "attention_mask": m.numpy()})[0] for i, m in given],
        }
        began = time.perf_counter()
        cases["padded, compiled"]()
        first = time.perf_counter() - began
        for said in zip(given, *(case() for case in cases.values()), strict=True):
            (_, mask), wanted, *others = said
            for found in others:
                np.testing.assert_allclose(found[mask.bool()], wanted[mask.bool()], atol=1e-3)
        print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}; the first compiled pass took {first:.0f} s")
        print(table(interleaved(cases, rounds)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
