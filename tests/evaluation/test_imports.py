"""What is slow to import is imported when it is used."""

import subprocess
import sys


def test_reading_a_report_imports_nothing_heavy():
    modules = ("report", "baselines", "cautions", "compare", "calibration", "details", "plots", "page")
    code = f"import sys; from omnitune.evaluation import {', '.join(modules)}; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "sklearn", "scipy", "matplotlib", "jinja2", "pyarrow", "pandas"}
