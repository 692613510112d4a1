"""Spectrograms of sound as the published models were trained on them.

Shape letters: S samples, T frames, M bands of the mel scale, F frequencies.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

RANGE = 8.0
"""Powers of ten below the loudest point of a clip, under which Whisper hears nothing."""
SILENCE = 1e-10
FRAME, HOP, POINTS = 400, 160, 512
"""Of `fbank`: samples of a window, between windows, and of the Fourier transform."""
FLOOR, EMPHASIS = 1.192092955078125e-07, 0.97


def log_mel(x_S: Tensor, rate: int, bins: int, n_fft: int, hop: int, most: int, silence: float = 0.0) -> Tensor:
    """(T, M), as Whisper hears it (Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 2.2), the first frames of what its
    extractor makes of the clip and the silence behind it. T is even, since two frames are a token.

    Args:
        x_S: float32, at most `most` samples.
        rate, bins, n_fft, hop: of the spectrogram; windows of `n_fft` samples begin every `hop`.
        most: samples that the extractor fills up to.
        silence: seconds of it that are kept.
    """
    frames = min(most // hop, 2 * math.ceil((len(x_S) + silence * rate) / (2 * hop)))
    filled = min(most, frames * hop + n_fft)
    x_S = torch.nn.functional.pad(x_S[:most], (0, filled - min(len(x_S), most)))
    waves_FT = torch.stft(x_S, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)[:, :-1]
    power_MT = _slaney(rate, bins, n_fft) @ (waves_FT.abs() ** 2).contiguous()
    log_MT = power_MT.clamp(min=SILENCE).log10()
    log_MT = torch.maximum(log_MT, log_MT.max() - RANGE)
    return ((log_MT[:, :frames] + 4) / 4).T.contiguous()


def fbank(x_S: Tensor, rate: int, bins: int, most: int, mean: float, std: float, patch: int, stride: int, silence: float = 0.0) -> Tensor:
    """(T, M), as AST hears it (Gong et al. 2021, https://arxiv.org/abs/2104.01778): Kaldi's filter banks, less `mean`, by two `std`.

    T is as many frames as patches of `patch` every `stride` need to hear all of the clip and the seconds of `silence` behind it, no more than
    `most`. That silence is 0 before it is normed, as AST was trained.
    """
    frames_TS = torch.nn.functional.pad(x_S, (0, max(0, FRAME - len(x_S)))).double().unfold(0, FRAME, HOP)[:most]
    frames_TS = frames_TS - frames_TS.mean(1, keepdim=True)
    before_TS = torch.cat([frames_TS[:, :1], frames_TS[:, :-1]], 1)
    windows_TS = (frames_TS - EMPHASIS * before_TS) * torch.hann_window(FRAME, periodic=False, dtype=torch.float64)
    power_TF = torch.fft.rfft(windows_TS, POINTS).abs() ** 2
    log_TM = (power_TF @ _kaldi(rate, bins)).clamp(min=FLOOR).log().float()
    heard = len(log_TM) + round(silence * rate / HOP)
    wanted = min(patch + stride * max(0, math.ceil((heard - patch) / stride)), most)
    log_TM = torch.nn.functional.pad(log_TM, (0, 0, 0, max(0, wanted - len(log_TM))))[:wanted]
    return (log_TM - mean) / (2 * std)


def normed(x_S: Tensor) -> Tensor:
    """Mean 0 and deviation 1, as wav2vec 2.0 hears it."""
    return (x_S - x_S.mean()) / torch.sqrt(x_S.var(correction=0) + 1e-7)


@cache
def _slaney(rate: int, bins: int, n_fft: int) -> Tensor:
    """(M, F) float32."""
    from transformers.audio_utils import mel_filter_bank

    made = mel_filter_bank(1 + n_fft // 2, bins, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(np.ascontiguousarray(made.T)).float()


@cache
def _kaldi(rate: int, bins: int) -> Tensor:
    """(F, M) float64."""
    from transformers.audio_utils import mel_filter_bank

    made = mel_filter_bank(1 + POINTS // 2, bins, 20, rate // 2, rate, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True)
    return torch.from_numpy(made).double()
