from omnitune.component import component
from omnitune.modalities import Modality
@component
class Number(Modality):
    width: int = 64
    def check(self, value): return None
    def learn(self, values): return {}
    def encode(self, values, facts, rng=None): return {}
    def size(self, value): return 1
    def encoder(self, facts): return None
    def example(self, n, rng): return []
