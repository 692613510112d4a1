"""Two runs compared on the rows they share."""

import numpy as np
import pytest

from evaluation.reports import predictions
from omnitune.errors import Mistake
from omnitune.evaluation import stored
from omnitune.evaluation.compare import compare, text
from omnitune.evaluation.measure import Predictions
from omnitune.evaluation.stored import Stored


def run(folder, form, keys, places=slice(None), names=("a", "b", "c"), skill=1.0, seed=0):
    """A stored run of one task on some of 150 rows."""
    given = predictions(form, skill=skill, seed=seed)
    some = Predictions(given.y[places], given.p[places], given.rows[places])
    folder.mkdir()
    stored.write(folder, {"mood": Stored(form, [] if form == "value" else list(names), some, list(np.array(keys)[places]))})
    return folder


KEYS = [f"k{i}" for i in range(150)]


@pytest.mark.parametrize("form", ["classes", "labels", "value"])
def test_predictions_come_back_as_they_were_stored(tmp_path, form):
    given = predictions(form)
    found = stored.read(run(tmp_path / "a", form, KEYS))["mood"]
    assert found.form == form and found.keys == KEYS
    assert np.array_equal(found.predictions.y, given.y) and np.array_equal(found.predictions.p, given.p)


@pytest.mark.parametrize("form", ["classes", "labels", "value"])
def test_a_run_equals_itself_in_any_order(tmp_path, form):
    a, b = run(tmp_path / "a", form, KEYS), run(tmp_path / "b", form, KEYS, np.random.default_rng(0).permutation(150))
    task = compare(a, b, resamples=20)["tasks"]["mood"]
    assert task["shared"] == 150
    assert all(d["value"] == pytest.approx(0, abs=1e-12) for d in task["metrics"]["differences"]["a"].values())


def test_only_shared_rows_count(tmp_path):
    a, b = run(tmp_path / "a", "classes", KEYS, slice(0, 100)), run(tmp_path / "b", "classes", KEYS, slice(50, 150), skill=4.0, seed=1)
    found = compare(a, b, resamples=50)
    task = found["tasks"]["mood"]
    assert (task["shared"], task["only_a"], task["only_b"]) == (50, 50, 50)
    assert task["metrics"]["differences"]["a"]["accuracy"]["value"] > 0
    shown = text(found)
    assert "50 test rows, not shared: 50 of a and 50 of b" in shown and "b - a" in shown
    assert "| accuracy |" in text(found, as_markdown=True)


def test_classes_meet_by_name(tmp_path):
    """The same answers with classes in another order are the same run."""
    a = run(tmp_path / "a", "classes", KEYS)
    given = predictions("classes")
    order = [2, 0, 1]
    folder = tmp_path / "b"
    folder.mkdir()
    turned = Predictions(np.argsort(order)[given.y], given.p[:, order], given.rows)
    stored.write(folder, {"mood": Stored("classes", [("a", "b", "c")[i] for i in order], turned, KEYS)})
    task = compare(a, folder, resamples=20)["tasks"]["mood"]
    assert task["shared"] == 150 and task["metrics"]["differences"]["a"]["macro_f1"]["value"] == 0


def test_duplicate_rows_pair_one_to_one(tmp_path):
    a, b = run(tmp_path / "a", "value", ["same"] * 150), run(tmp_path / "b", "value", ["same"] * 150)
    assert compare(a, b, resamples=20)["tasks"]["mood"]["shared"] == 150


def test_runs_that_share_nothing_are_mistakes(tmp_path):
    a = run(tmp_path / "a", "classes", KEYS)
    with pytest.raises(Mistake, match="no test row in common"):
        compare(a, run(tmp_path / "b", "classes", [f"other {key}" for key in KEYS]))
    with pytest.raises(Mistake, match="no task in common"):
        compare(a, run(tmp_path / "c", "value", KEYS))
    with pytest.raises(Mistake, match=r"no predictions\.parquet"):
        compare(a, tmp_path)
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(Mistake, match="damaged"):
        compare(a, tmp_path)
