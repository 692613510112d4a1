from omnitune.component import component
from omnitune.tasks import Task
@component
class Regress(Task):
    target: str
