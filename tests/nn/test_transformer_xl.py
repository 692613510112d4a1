"""Transformer-XL against a reference that is written from the paper, a pair of tokens at a time, and against XLNet."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, XLNetConfig, XLNetModel

from omnitune.errors import Mistake
from omnitune.nn import checkpoints, flat
from omnitune.nn.dropout import Dropout
from omnitune.nn.encoder import Encoder
from omnitune.nn.memory import Memory, Segment
from omnitune.nn.relative_attention import RelativeAttention, shift
from omnitune.nn.transformer_xl import TransformerXL, TransformerXLConfig, TransformerXLForCausalLM
from omnitune.nn.transformer_xl_config import PRESETS
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.lora import LoRA

VOCAB = 23
CLUSTERS: dict[str, Any] = {"cutoffs": (7, 15), "divisor": 2}


def config(**more: Any) -> TransformerXLConfig:
    settings = {name: more.pop(name) for name in ("clamp", "same_length") if name in more}
    made = TransformerXLConfig.of(**{"depth": 2, "width": 8, "heads": 2, "inner": 12, "context": 6, "vocab": VOCAB, "pad": 0} | more)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def randomised(model: nn.Module) -> Any:
    """In double precision, with weights large enough for differences to show, norms and biases too."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.5, generator=random)
            if weight.ndim == 1:
                weight.add_(0.5)
    return model.double().eval()


def base(**more: Any) -> TransformerXL:
    return randomised(TransformerXL(config(**more)))


def language_model(**more: Any) -> TransformerXLForCausalLM:
    return randomised(TransformerXLForCausalLM(config(**more)))


def ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def read(model: Any, segments: Any, **more: Any) -> tuple[Tensor, Memory]:
    """The tokens of segments, read one after the other with the memory carried along, and the last memory."""
    mems, made = None, []
    for segment in segments:
        out = model(segment, mems, **more)
        mems = out.mems
        made.append(out.last_hidden_state)
    assert mems is not None
    return torch.cat(made, 1), mems


# the reference


class Reference:
    """One row of text, read segment by segment. The memory is a list of vectors for each block; nothing is padded, shifted or batched."""

    def __init__(self, model: TransformerXL, memory: int) -> None:
        self.model, self.config, self.memory = model, model.config, memory
        self.past: list[list[Tensor]] = [[] for _ in model.blocks]

    def segment(self, words: list[int], starts: list[int]) -> Tensor:
        """(L, D): the tokens of a segment, whose documents begin at `starts`."""
        M = len(self.past[0])
        document = [0] * M + [sum(start <= i for start in starts) for i in range(len(words))]
        x = [self.embed(word) for word in words]
        for number, block in enumerate(self.model.blocks):
            seen = self.past[number] + x
            self.past[number] = [z.detach() for z, d in zip(seen, document, strict=True) if d == document[-1]]
            self.past[number] = self.past[number][len(self.past[number]) - min(self.memory, len(self.past[number])) :]
            attended = [self.attend(block.attention, seen, M + i, document) for i in range(len(x))]
            x = [block.norm1(a + b) for a, b in zip(x, attended, strict=True)]
            x = [block.norm2(a + block.mlp[3](block.mlp[0](a).clamp(min=0))) for a in x]
        return torch.stack(x)

    def embed(self, word: int) -> Tensor:
        words = self.model.embeddings.words
        cluster = sum(word >= edge for edge in self.config.cutoffs)
        vector = words.tables[cluster].weight[word - [0, *self.config.cutoffs][cluster]]
        return words.projections[cluster](vector) * math.sqrt(self.config.hidden_size)

    def attend(self, attention: RelativeAttention, seen: list[Tensor], place: int, document: list[int]) -> Tensor:
        """What the token at `place` takes from those before it."""
        H, q, made = attention.heads, attention.q_proj(seen[place]), []
        window = self.memory if self.config.same_length else len(seen)
        places = [j for j in range(place + 1) if document[j] == document[place] and place - j < window]
        for h in range(H):
            own = slice(h * len(q) // H, (h + 1) * len(q) // H)
            u, v, scores = attention.u[h, 0], attention.v[h, 0], []
            for j in places:
                r = attention.r_proj(self.distance(place - j))
                scores.append(((q[own] + u) @ attention.k_proj(seen[j])[own] + (q[own] + v) @ r[own]) / math.sqrt(len(q) // H))
            weights = torch.stack(scores).softmax(0)
            made.append(sum(w * attention.v_proj(seen[j])[own] for w, j in zip(weights, places, strict=True)))
        return attention.out(torch.cat(made))  # type: ignore[arg-type]

    def distance(self, back: int) -> Tensor:
        D = self.config.hidden_size
        back = back if self.config.clamp is None else min(back, self.config.clamp)
        angles = [back / 10_000 ** (2 * i / D) for i in range(D // 2)]
        return torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles], dtype=torch.float64)


def gradients(model: nn.Module, total: Tensor) -> list[Tensor | None]:
    model.zero_grad()
    total.backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("clusters", [{}, CLUSTERS])
@pytest.mark.parametrize(
    ("memory", "settings"), [(0, {}), (3, {}), (50, {}), (4, {"clamp": 2}), (4, {"same_length": True}), (2, {"same_length": True, "clamp": 1})]
)
def test_segments_of_uneven_rows_and_documents_are_those_of_the_reference(memory: int, settings: dict[str, Any], clusters: dict[str, Any]) -> None:
    """Three rows over three segments: padding, a row that ends early, and documents that begin with a segment and inside one."""
    model = base(memory=memory, **settings, **clusters)
    texts, lengths = ids(3, 3, 6), [[6, 4, 6], [6, 6, 1], [6, 5, 0]]
    starts = [[[], [], [2, 4]], [[0, 3], [0], [0]], [[], [], []]]
    references, mems, total, wanted_total = [Reference(model, memory) for _ in range(3)], None, 0.0, 0.0
    for number in range(3):
        mask = torch.arange(6) < torch.tensor(lengths[number])[:, None]
        begins = torch.zeros(3, 6, dtype=torch.bool)
        for row, places in enumerate(starts[number]):
            begins[row, places] = True
        out = model(texts[number], mems, mask.long(), starts=begins)
        mems = out.mems
        for row, length in enumerate(lengths[number]):
            if length:
                wanted = references[row].segment(texts[number, row, :length].tolist(), starts[number][row])
                close(out.last_hidden_state[row, :length], wanted)
                weight = torch.linspace(-1, 1, wanted.numel(), dtype=torch.float64).view_as(wanted)
                total, wanted_total = total + (out.last_hidden_state[row, :length] * weight).sum(), wanted_total + (wanted * weight).sum()
    close(gradients(model, total), gradients(model, wanted_total))  # type: ignore[arg-type]


def test_the_memory_is_that_of_the_reference() -> None:
    model, words = base(memory=5), ids(2, 4)
    reference, (_, mems) = Reference(model, 5), read(model, words.split(2, 1))
    for pair in words[0].split(2):
        reference.segment(pair.tolist(), [])
    for layer, wanted in zip(mems.layers, reference.past, strict=True):
        close(layer[0], torch.stack(wanted))
    assert mems.held_B.tolist() == [4, 4]


def test_the_shift_puts_each_score_at_its_distance() -> None:
    for L, S in [(1, 1), (1, 4), (3, 3), (3, 7)]:
        found = shift(torch.arange(S - 1, -1, -1).expand(2, L, S).float())
        for i in range(L):
            for j in range(S - L + i + 1):
                assert found[:, i, j].tolist() == [S - L + i - j] * 2


@pytest.mark.parametrize("memory", [3, 9])
def test_attention_and_memory_are_those_of_xlnet(memory: int) -> None:
    """XLNet read in one direction is Transformer-XL, with vectors that are not scaled."""
    sizes = {"n_layer": 2, "d_model": 8, "n_head": 2, "d_inner": 12, "vocab_size": VOCAB, "ff_activation": "relu", "layer_norm_eps": 1e-5}
    theirs = XLNetModel(XLNetConfig(**sizes, attn_type="uni", mem_len=memory, dropout=0.0)).double().eval()
    model = base(memory=memory)
    with torch.no_grad():
        theirs.word_embedding.weight.copy_(model.embeddings.words.tables[0].weight * 8**0.5)
        for block, layer in zip(model.blocks, theirs.layer, strict=True):
            ours, attention = block.attention, layer.rel_attn
            for name in "qkvr":
                getattr(attention, name).copy_(getattr(ours, f"{name}_proj").weight.T.view(8, 2, 4))
            attention.o.copy_(ours.out.weight.view(8, 2, 4))
            attention.r_w_bias.copy_(ours.u[:, 0])
            attention.r_r_bias.copy_(ours.v[:, 0])
            attention.layer_norm, layer.ff.layer_norm = block.norm1, block.norm2
            layer.ff.layer_1, layer.ff.layer_2 = block.mlp[0], block.mlp[3]
    mems, past = None, None
    for segment in ids(2, 14).split([5, 1, 4, 4], 1):
        out, wanted = model(segment, mems), theirs(segment, mems=past, use_mems=True)
        mems, past = out.mems, wanted.mems
        close(out.last_hidden_state, wanted.last_hidden_state)
        close([layer.transpose(0, 1) for layer in out.mems.layers], list(past))


# segments and memories


@pytest.mark.parametrize("sizes", [[12], [6, 6], [1] * 12, [5, 1, 4, 2], [11, 1]])
@torch.no_grad()
def test_segments_with_a_memory_that_covers_everything_are_the_whole(sizes: list[int]) -> None:
    model, words = base(depth=3, memory=12), ids(2, 12)
    close(read(model, words.split(sizes, 1))[0], model(words).last_hidden_state)


@torch.no_grad()
def test_a_memory_longer_than_in_training_by_call_or_by_setting() -> None:
    model, words = base(memory=2), ids(2, 12)
    short, whole = read(model, words.split(3, 1))[0], model(words).last_hidden_state
    assert not torch.allclose(short[:, 6:], whole[:, 6:], atol=0.05)
    by_call, mems = read(model, words.split(3, 1), memory=99)
    close(by_call, whole)
    assert mems.size == 12
    model.config.memory = 99
    close(read(model, words.split(3, 1))[0], whole)
    assert model(words, memory=5).mems.size == 5
    assert model(words, memory=0).mems.size == 0 and model(words, use_cache=False).mems is None


def test_no_gradient_flows_into_a_memory() -> None:
    model = base(memory=6)
    _, mems = read(model, ids(2, 6).split(3, 1))
    assert all(not layer.requires_grad for layer in mems.layers)
    grad: list[Tensor] = []
    model.embeddings.words.tables[0].weight.register_hook(grad.append)
    model(torch.tensor([[1, 2], [1, 2]]), mems).last_hidden_state.square().sum().backward()
    touched = grad[0].abs().sum(1).nonzero()[:, 0].tolist()
    assert touched == [1, 2]


def test_a_memory_is_not_a_view_of_the_segment() -> None:
    model = base(memory=2)
    out = model(ids(2, 5), output_hidden_states=True)
    for layer, entered in zip(out.mems.layers, out.hidden_states, strict=False):
        assert torch.equal(layer, entered[:, -2:])
        assert layer.untyped_storage().data_ptr() != entered.untyped_storage().data_ptr()
    assert len(out.hidden_states) == 3 and torch.equal(out.hidden_states[-1], out.last_hidden_state)


@torch.no_grad()
def test_documents_are_apart_wherever_they_begin() -> None:
    """What comes before a start has no say in what comes behind it, to the last bit."""
    model, words, start = base(memory=9), ids(2, 12), torch.zeros(2, 12, dtype=torch.bool)
    start[0, 4], start[1, 9] = True, True
    other = torch.where(start.cumsum(1) > 0, words, words % (VOCAB - 1) + 1)
    after = (start.cumsum(1) > 0)[:, -8:]
    for first, second in ((words, other),):
        found = []
        for text in (first, second):
            mems, made = None, []
            for piece, begins in zip(text.split(4, 1), start.split(4, 1), strict=True):
                out = model(piece, mems, starts=begins)
                mems = out.mems
                made.append(out.last_hidden_state)
            found.append(torch.cat(made, 1)[:, -8:])
        assert torch.equal(found[0][after], found[1][after]) and not torch.allclose(found[0][~after], found[1][~after])
    alone = model(words[:1, 4:]).last_hidden_state
    close(found[0][:1], alone)


@torch.no_grad()
def test_a_document_that_begins_with_a_segment_empties_the_memory_of_its_row() -> None:
    model, words = base(memory=9), ids(3, 8)
    mems = model(words[:, :4]).mems
    starts = torch.zeros(3, 4, dtype=torch.bool)
    starts[1, 0] = True
    out = model(words[:, 4:], mems, starts=starts)
    assert out.mems.held_B.tolist() == [8, 4, 8]
    whole = model(words).last_hidden_state[:, 4:]
    close(out.last_hidden_state[[0, 2]], whole[[0, 2]])
    close(out.last_hidden_state[1], model(words[1:2, 4:]).last_hidden_state[0])


@torch.no_grad()
def test_padding_on_either_side_changes_nothing() -> None:
    model, words = base(memory=9), ids(2, 7)
    wanted, memory = read(model, [words[:1, :3], words[:1, 3:]])
    right, left = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    for mask in (right, left):
        first = words[:, :4].clone()
        first[0, mask[0] == 1] = words[0, :3]
        out = model(first, None, mask)
        close(out.last_hidden_state[0, mask[0] == 1], wanted[0, :3])
        assert out.mems.held_B.tolist() == [3, 4]
        again = model(torch.cat([words[:1, 3:], words[1:, :4]]), out.mems)
        close(again.last_hidden_state[0], wanted[0, 3:])
        close([layer[0, -7:] for layer in again.mems.layers], [layer[0] for layer in memory.layers])


def test_every_token_sees_itself_padding_too() -> None:
    """Attention over nothing is not a number in some kernels, and would spread."""
    mask, starts = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]), torch.tensor([[0, 0, 1, 0], [1, 0, 0, 1]])
    memory = Memory([torch.zeros(2, 3, 8)], torch.tensor([0, 2]))
    unseen = Segment.of(4, memory, mask, starts).unseen(1, mask.device)
    assert unseen.shape == (2, 1, 4, 7) and not unseen[..., 3:].diagonal(dim1=-2, dim2=-1).any()


@torch.no_grad()
def test_rows_may_change_places_with_their_memories() -> None:
    model, words = base(memory=9), ids(3, 8)
    mems = model(words[:, :4]).mems
    order = torch.tensor([2, 0])
    close(model(words[order, 4:], mems.of_rows(order)).last_hidden_state, model(words).last_hidden_state[order, 4:])


def test_a_memory_that_does_not_fit_is_refused() -> None:
    model = base(memory=4)
    mems = model(ids(3, 5)).mems
    with pytest.raises(Mistake, match="the memory is of 3 rows, the batch of 2"):
        model(ids(2, 5), mems)
    with pytest.raises(Mistake, match="2 blocks of width 8, the model has 3 of width 8"):
        base(depth=3)(ids(3, 5), mems)
    with pytest.raises(Mistake, match="width 8, the model has 2 of width 12"):
        base(width=12)(ids(3, 5), mems)
    with pytest.raises(Mistake, match=r"attention_mask: its shape is \(3, 9\), that of the tokens \(3, 5\)"):
        model(ids(3, 5), mems, torch.ones(3, 9))
    with pytest.raises(Mistake, match=r"starts: its shape is \(3,\)"):
        model(ids(3, 5), mems, starts=torch.ones(3, dtype=torch.bool))
    with pytest.raises(Mistake, match="padding between its memory and its tokens"):
        model(ids(3, 2), mems, torch.tensor([[1, 1], [0, 1], [1, 0]]))
    assert model(ids(3, 2), mems, torch.tensor([[1, 1], [0, 0], [1, 0]])).mems.held_B.tolist() == [4, 4, 4]
    with pytest.raises(Mistake, match="flat rows have no memory"):
        model(ids(1, 5), model(ids(1, 5)).mems, torch.tensor([[[[2, 3]]]]))


@pytest.mark.parametrize("settings", [{}, {"clamp": 2}, {"same_length": True, "memory": 3}])
def test_flat_rows_are_padded_rows(settings: dict[str, Any]) -> None:
    model, words, mask = language_model(**settings, **CLUSTERS), ids(5, 9), torch.arange(9) < torch.tensor([[5], [9], [2], [5], [1]])
    layout = flat.Layout.of(mask)
    padded = model(words, attention_mask=mask, labels=words.masked_fill(~mask, -100))
    wanted = gradients(model, padded.loss)
    row = layout.flatten(words)
    found = model(row, attention_mask=layout.mask, labels=row)
    close(found.loss, padded.loss)
    close(gradients(model, found.loss), wanted)
    states = model.model(row, attention_mask=layout.mask, position_ids=layout.positions[None])
    assert states.mems is None
    close(layout.pad(states.last_hidden_state)[mask], model.model(words, attention_mask=mask).last_hidden_state[mask])


# losses and words


@pytest.mark.parametrize("clusters", [{}, CLUSTERS])
def test_losses_of_targets_and_labels(clusters: dict[str, Any]) -> None:
    model, words = language_model(memory=20, **clusters), ids(2, 13)
    logits = model(words[:, :-1]).logits
    close(logits.exp().sum(-1), torch.ones(2, 12, dtype=torch.float64))
    wanted = -logits.gather(2, words[:, 1:, None])[..., 0]
    mems, losses = None, []
    for here, behind in zip(words[:, :-1].split(4, 1), words[:, 1:].split(4, 1), strict=True):
        out = model(here, mems, targets=behind)
        mems = out.mems
        assert out.logits is None
        losses.append(out.losses)
    close(torch.cat(losses, 1), wanted)
    whole = model(words, labels=words)
    close(whole.losses[:, :-1], wanted)
    close(whole.loss, wanted.mean())
    assert not whole.losses[:, -1].any()
    few = torch.full_like(words[:, :-1], -100)
    few[0, 3], few[1, 7] = words[0, 4], words[1, 8]
    close(model(words[:, :-1], targets=few).loss, (wanted[0, 3] + wanted[1, 7]) / 2)
    assert float(model(words[:, :-1], targets=torch.full_like(few, -100)).loss.detach()) == 0
    close(model(words[:, :-1], logits_to_keep=2).logits, logits[:, -2:])
    with pytest.raises(Mistake, match="labels say what to predict already"):
        model(words, labels=words, targets=words)


def test_no_label_reaches_across_the_start_of_a_document() -> None:
    model, words, starts = language_model(), ids(1, 9), torch.zeros(1, 9, dtype=torch.bool)
    starts[0, [0, 4]] = True
    losses = model(words, starts=starts, labels=words).losses[0]
    close(losses[:3], model(words[:, :4], labels=words[:, :4]).losses[0, :3])
    close(losses[4:], model(words[:, 4:], labels=words[:, 4:]).losses[0])
    assert losses[3] == 0


def test_what_only_the_memory_tells_is_learned() -> None:
    """The last word of a text follows from its first, two segments before: without a memory it stays the toss of a coin."""
    last = {}
    for memory in (4, 0):
        torch.manual_seed(0)
        settings = config(depth=1, width=16, heads=2, inner=32, memory=memory, vocab=5)
        settings.initializer_range = 0.2
        model = TransformerXLForCausalLM(settings).train()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(100):
            first = torch.randint(1, 3, (16, 1))
            text, mems = torch.cat([first, torch.zeros(16, 3, dtype=torch.int64), first + 2], 1), None
            for here, behind in zip(text[:, :-1].split(2, 1), text[:, 1:].split(2, 1), strict=True):
                out = model(here, mems, targets=behind)
                mems = out.mems
                optimizer.zero_grad()
                out.loss.backward()
                optimizer.step()
        last[memory] = float(out.losses[:, -1].mean().detach())
    assert last[4] < 0.1 and last[0] > 0.6


# generation


def talker(**more: Any) -> TransformerXLForCausalLM:
    """A model whose answers vary: one that repeats itself proves little."""
    model = TransformerXLForCausalLM(config(**{"depth": 3, "width": 16, "memory": 99} | more))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, 0.1 if "tables" in name else 0.5, generator=random)
    return model.double().eval()


@torch.no_grad()
def greedy(model: TransformerXLForCausalLM, words: Tensor, tokens: int) -> Tensor:
    """The whole text anew for every token."""
    for _ in range(tokens):
        words = torch.cat([words, model(words, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return words


@pytest.mark.parametrize("clusters", [{}, CLUSTERS])
def test_generate_through_the_memory_is_greedy_decoding_of_the_whole(clusters: dict[str, Any]) -> None:
    model, words, seen = talker(**clusters), ids(3, 8), []
    model.model.blocks[0].register_forward_hook(lambda block, args, output: seen.append(args[0].shape[1]))
    out = model.generate(words, max_new_tokens=16, do_sample=False, output_logits=True, return_dict_in_generate=True)
    found = out.sequences
    assert seen == [6, 2, *[1] * 15], "a prompt is read in segments"
    close(torch.stack(out.logits, 1), model(found).logits[:, 7:-1].float())
    assert found.tolist() == greedy(model, words, 16).tolist()
    assert len(set(found[:, 8:].flatten().tolist())) > 3
    without = model.generate(words, max_new_tokens=16, do_sample=False, use_cache=False)
    assert without.tolist() == found.tolist()


def test_generate_from_prompts_of_unequal_length_padded_on_the_left() -> None:
    model, words = talker(), ids(3, 8)
    mask = torch.arange(8) >= torch.tensor([[0], [5], [2]])
    found = model.generate(words * mask, attention_mask=mask.long(), max_new_tokens=12, do_sample=False)
    for row, padding in enumerate([0, 5, 2]):
        assert greedy(model, words[row : row + 1, padding:], 12)[0].tolist() == found[row, padding:].tolist()


def test_generate_behind_a_memory() -> None:
    model, words = talker(), ids(2, 14)
    mems = model(words[:, :9]).mems
    found = model.generate(words[:, 9:], mems=mems, max_new_tokens=10, do_sample=False)
    assert found[:, 5:].tolist() == greedy(model, words, 10)[:, 14:].tolist()


def test_generate_with_a_short_memory_reads_no_further_back() -> None:
    model, words = talker(memory=4), ids(2, 8)
    found = model.generate(words, max_new_tokens=9, do_sample=False)
    mems = model(words[:, 6:], model(words[:, :6]).mems).mems
    for place in range(8, 16):
        out = model(found[:, place : place + 1], mems)
        mems = out.mems
        assert mems.size == 4
        assert out.logits[:, -1].argmax(-1).tolist() == found[:, place + 1].tolist()
    assert model.generate(words, memory=99, max_new_tokens=9, do_sample=False).tolist() == greedy(model, words, 9).tolist()


def test_generate_with_beams_and_by_chance() -> None:
    model, words = talker(), ids(2, 6)
    cached, anew = (model.generate(words, num_beams=3, max_new_tokens=8, do_sample=False, use_cache=cache) for cache in (True, False))
    assert cached.tolist() == anew.tolist()
    made = []
    for cache in (True, False):
        torch.manual_seed(0)
        made.append(model.generate(words, do_sample=True, num_return_sequences=2, max_new_tokens=8, use_cache=cache))
    assert made[0].tolist() == made[1].tolist() and made[0].shape == (4, 14)


# the model among those of transformers


@pytest.mark.parametrize("clusters", [{}, CLUSTERS])
def test_saved_and_read_again(clusters: dict[str, Any], tmp_path: Path) -> None:
    model, words = language_model(memory=3, clamp=2, **clusters), ids(2, 9)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert type(again) is TransformerXLForCausalLM
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    close(again(words).logits, model(words).logits)
    alone = AutoModel.from_pretrained(tmp_path, dtype=torch.float64)
    assert type(alone) is TransformerXL
    close(alone(words).last_hidden_state, model.model(words).last_hidden_state)
    read_again = AutoConfig.from_pretrained(tmp_path)
    assert (read_again.memory, read_again.clamp, read_again.cutoffs) == (3, 2, list(clusters.get("cutoffs", ())))


@pytest.mark.parametrize(
    ("name", "millions"),
    # the paper says 151M, 257M, 41M and 277M
    [("transformer-xl-base", 150.9), ("transformer-xl-large", 282.8), ("transformer-xl-enwik8", 41.1), ("transformer-xl-enwik8-large", 277.3)],
)
def test_published_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = TransformerXLForCausalLM(TransformerXLConfig.preset(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_every_published_size_is_tested() -> None:
    (mark,) = (mark for mark in test_published_sizes.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [name for name, _ in mark.args[1]] == list(PRESETS)


def test_the_dial() -> None:
    made = TransformerXLConfig.of(6)
    assert (made.hidden_size, made.num_attention_heads, made.intermediate_size) == (384, 6, 1536)
    assert (made.context, made.memory, made.vocab_size, made.cutoffs) == (150, 150, 50_257, [])
    assert TransformerXLConfig.of(6, context=64).memory == 64 and TransformerXLConfig.of(6, memory=0).memory == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TransformerXLConfig.of(2, heads=3), "3 heads do not divide width 128"),
        (lambda: TransformerXLConfig.of(2, width=9, heads=3), "9 is odd"),
        (lambda: TransformerXLConfig.of(0), "are no model"),
        (lambda: TransformerXLConfig.of(2, memory=-1), "-1 tokens are no memory"),
        (lambda: TransformerXLConfig.of(2, cutoffs=(5, 3)), "do not cut 50257 words"),
        (lambda: TransformerXLConfig.of(2, width=8, cutoffs=(5, 9), divisor=4), "width 8 cannot be divided by 4 2 times"),
        (lambda: TransformerXLConfig.preset("transformer-xl-huge"), "no published size called 'transformer-xl-huge'"),
    ],
)
def test_wrong_sizes_are_refused(make: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        make()


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = TransformerXLForCausalLM(config(width=128, inner=512, vocab=400, cutoffs=(100, 200), divisor=2))
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.2), name
        else:
            assert torch.equal(weight, torch.full_like(weight, 0.0 if name.endswith("bias") else 1.0)), name
    losses = model(torch.randint(400, (4, 40))).logits.detach().mean((0, 1))
    wanted = torch.tensor([math.log(102)] * 100 + [math.log(102 * 100)] * 100 + [math.log(102 * 200)] * 200)
    torch.testing.assert_close(-losses, wanted, rtol=0, atol=0.3)


def test_dropout_of_layers_and_of_attention() -> None:
    words = ids(2, 9)
    for shares in ({"dropout": 0.5}, {"attention_dropout": 0.5}):
        model, plain = base(**shares).train(), base()
        assert not torch.equal(model(words).last_hidden_state, model(words).last_hidden_state)
        assert torch.equal(model.eval()(words).last_hidden_state, plain(words).last_hidden_state)
    dropping = [name for name, module in base(dropout=0.5).named_modules() if isinstance(module, Dropout) and module.p == 0.5]
    in_blocks = [f"blocks.{i}.{name}" for i in range(2) for name in ("mlp.2", "dropout")]
    assert dropping == ["embeddings.dropout", *in_blocks, "dropout"]


def test_more_tokens() -> None:
    model, words = language_model(), ids(2, 9)
    wanted = model.model(words).last_hidden_state
    model.resize_token_embeddings(VOCAB + 3, mean_resizing=False)
    close(model.model(words).last_hidden_state, wanted)
    assert model.config.vocab_size == VOCAB + 3 == model(words).logits.shape[-1]
    assert model(words % 3 + VOCAB).logits.isfinite().all()


# as a backbone


def encoder(**more: Any) -> Encoder:
    return Encoder(base(**{"depth": 4} | more), "last")


def rows() -> dict[str, Tensor]:
    words, mask = ids(3, 9), torch.arange(9) < torch.tensor([[9], [3], [5]])
    return {"input_ids": words * mask, "attention_mask": mask.long()}


@pytest.mark.parametrize("clusters", [{}, {"cutoffs": (3, 6, 9, 12, 15, 18), "divisor": 1}])
@torch.no_grad()
def test_an_encoder_finds_the_blocks_and_reads_rows(clusters: dict[str, Any]) -> None:
    made, inputs = encoder(**clusters), rows()
    assert made.names == [f"blocks.{i}" for i in range(4)] and made.width == 8
    assert made.depth("model.embeddings.words.tables.0.weight") == 0 and made.depth("model.blocks.2.attention.r_proj.weight") == 3
    tokens = made(**inputs)
    for row, length in enumerate([9, 3, 5]):
        close(tokens.x_BLD[row, :length], made.model(inputs["input_ids"][row : row + 1, :length]).last_hidden_state[0])
    made.narrow = True
    close(made(**inputs).pooled(), tokens.pooled())
    assert made.path()["last block"] == "the last token alone"


@torch.no_grad()
def test_replay_from_every_cut() -> None:
    for k in range(1, 5):
        made, inputs = encoder(), rows()
        made.cut_after(k)
        wanted = made(**inputs)
        assert made.cut is not None
        found = made.replay(made.cut.seen, inputs["attention_mask"].bool())
        assert torch.equal(found.x_BLD[found.mask_BL], wanted.x_BLD[wanted.mask_BL])


def test_a_frozen_prefix_learns_nothing_and_drops_nothing() -> None:
    made, inputs = encoder(dropout=0.5, attention_dropout=0.5), rows()
    Freeze(blocks=2).apply(made)
    made.cut_after(2)
    made.train()
    kept = []
    for _ in range(2):
        out = made(**inputs)
        assert made.cut is not None
        kept.append((made.cut.seen, out.x_BLD))
    assert torch.equal(kept[0][0], kept[1][0]) and not torch.equal(kept[0][1], kept[1][1])
    kept[0][1].square().sum().backward()
    assert all((p.grad is not None) == (made.depth(name) > 2) for name, p in made.named_parameters())


def test_lora_goes_into_every_product_and_folds_back(tmp_path: Path) -> None:
    made, inputs = encoder(), rows()
    plain = made(**inputs).x_BLD.detach()
    torch.manual_seed(0)
    LoRA(rank=2).apply(made)
    learning = {name.split(".")[-4] for name, p in made.named_parameters() if p.requires_grad and "lora_A" in name}
    assert learning == {"q_proj", "k_proj", "v_proj", "r_proj", "out", "0", "3"}
    made.double()
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.5)
    made(**inputs).x_BLD.square().sum().backward()
    assert all((p.grad is not None) == ("lora" in name) for name, p in made.named_parameters())
    wanted = made(**inputs).x_BLD.detach()
    assert not torch.allclose(wanted, plain, atol=0.1)
    made.save(tmp_path, weights=True)
    made.merge()
    close(made(**inputs).x_BLD, wanted)
    (tmp_path / "adapter_config.json").rename(tmp_path / "away")
    again = Encoder(checkpoints.skeleton(tmp_path, "there"), "last", filled=False)
    again.load(tmp_path)
    assert type(again.model) is TransformerXL
    torch.testing.assert_close(again.double()(**inputs).x_BLD, plain, rtol=1e-4, atol=1e-4)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    made, inputs, runs = encoder(), rows(), []
    made.blocks[1].attention.register_forward_hook(lambda *_: runs.append(1))
    wanted = gradients(made, made(**inputs).x_BLD.square().sum())
    assert len(runs) == 1
    made.recompute()
    for p in made.parameters():
        p.requires_grad_()
    made.train()
    close(gradients(made, made(**inputs).x_BLD.square().sum()), wanted)
    assert len(runs) == 3
