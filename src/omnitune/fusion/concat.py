from omnitune.component import component
from omnitune.fusion import Fusion
@component
class Concat(Fusion):
    pass
    def module(self, widths): return None
