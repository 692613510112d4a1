"""Baselines: what a model must beat to be worth its cost: a constant, simple models of the table, a linear probe of the backbone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from omnitune.evaluation import columns as tables
from omnitune.nn.metrics import Form

Array = np.ndarray[Any, Any]
Make = Callable[[], Any]
Candidate = tuple[Any, list[tuple[list[str], Make, str]]]
ROWS = 20_000
"""Training rows a simple model sees at most."""
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse L2 penalties a probe chooses from by validation."""
MANY = 20
"""Classes or labels from which on trees are left out and a linear model has one strength: they would take minutes."""


def constant(form: Form, y_train: Array, n: int, classes: int = 0) -> Array:
    """The same answer for `n` rows: shares of the classes (n, C) or labels (n, K) in training, or the mean (n,).

    `classes` is C; the largest class of `y_train` decides where it is left out.
    """
    if form == "value":
        return np.full(n, y_train.mean())
    shares = y_train.mean(0) if form == "labels" else np.bincount(y_train.astype(np.int64), minlength=classes) / len(y_train)
    return np.tile(shares, (n, 1))


def simple(
    form: Form,
    columns_train: Mapping[str, Sequence[Any]],
    columns_val: Mapping[str, Sequence[Any]],
    columns_test: Mapping[str, Sequence[Any]],
    kinds: Mapping[str, str],
    y_train: Array,
    y_val: Array,
    classes: int = 0,
) -> tuple[Array, str] | None:
    """The best simple model of the columns, chosen by its loss on the validation rows (on a fifth of the training rows where there are none).

    Linear models read text as TF-IDF of words and pairs of words (of characters where the script has no spaces), numbers standardised and
    categories one-hot; gradient boosting reads numbers and categories. At most 20,000 training rows are used. None may be missing: missing
    values and values unseen in training are fine.

    Args:
        form: of the task.
        columns_train, columns_val, columns_test: raw values by input.
        kinds: `text`, `number`, `category` or `outline` by input; other inputs are left out.
        y_train, y_val: answers, in the form of the task.
        classes: C; from `y_train` where it is left out.

    Returns:
        Predictions for the test rows and a description; None where no input has a simple model (pictures alone).
    """
    used = tables.usable(columns_train, kinds)
    if not used:
        return None
    pick = np.arange(len(y_train)) if len(y_train) <= ROWS else np.sort(np.random.default_rng(0).choice(len(y_train), ROWS, replace=False))
    train, y = _part({name: columns_train[name] for name in used}, pick), y_train[pick]
    val = {name: list(columns_val[name]) for name in used}
    if not len(y_val):
        y, y_val, train, val = _hold_out(y, train)
    width = _width(form, y_train, classes)
    test = {name: list(columns_test[name]) for name in used}
    best: tuple[float, Array, str] | None = None
    for reader, models in _candidates(form, used, width):
        given = [reader.fit(train), reader.read(val), reader.read(test)]
        for columns, model, words in models:
            x_train, x_val, x_test = (tables.beside(blocks, columns) for blocks in given)
            predict = _fit(form, model, x_train, y, width)
            loss = _loss(form, y_val, predict(x_val))
            if best is None or loss < best[0]:
                best = loss, predict(x_test), words
    assert best is not None, "a usable column has a candidate"
    return best[1], f"{best[2]}, {len(y):,} training rows"


def probe(form: Form, features_train: Array, y_train: Array, features_val: Array, y_val: Array, features_test: Array, classes: int = 0) -> Array:
    """A linear model on standardised frozen features (n, D): logistic regression, or ridge regression in closed form for values.

    The strength of the penalty is chosen by the loss on the validation rows; without validation rows it is 1.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features_train)
    train, val, test = (scaler.transform(x) if len(x) else x for x in (features_train, features_val, features_test))
    width = _width(form, y_train, classes)
    strengths = STRENGTHS if len(y_val) and width <= MANY else (1.0,)
    fitted = [_fit(form, _linear(form, strength), train, y_train, width) for strength in strengths]
    losses = [_loss(form, y_val, predict(val)) for predict in fitted] if len(fitted) > 1 else [0.0]
    return fitted[int(np.argmin(losses))](test)


def around(said: Array, y: Array, levels: Sequence[float]) -> Array:
    """Quantiles (n, Q) around numbers, from a model of numbers: those of its errors on rows that it is asked of first.

    Args:
        said: predictions for the rows of `y`, and then for `n` others.
        y: answers of the first rows.
        levels: Q probabilities.
    """
    errors_Q: Array = np.quantile(y - said[: len(y)], levels)
    around_nQ: Array = said[len(y) :, None] + errors_Q
    return around_nQ


def _candidates(form: Form, used: Mapping[str, str], width: int) -> list[Candidate]:
    """Readers of columns, each with the models to try: (columns, model, description)."""
    text = [name for name, kind in used.items() if kind == "text"]
    table = [name for name, kind in used.items() if kind != "text"]
    sets = [text, [*text, *table]] if text and table else [text or table]
    strengths = (1.0,) if width > MANY else (1.0, 10.0)
    outlines = [name for name, kind in used.items() if kind == "outline"]
    linear = [(some, _linear(form, c), f"{_named(form, c)} on {_words(some, text, outlines)}") for some in sets for c in strengths]
    found: list[Candidate] = [(tables.Linear(used), linear)]
    plain = [name for name in table if used[name] != "outline"]
    if plain and width <= MANY:
        categories = [used[name] == "category" for name in plain]
        boosted = [(plain, _boosted(form, categories), f"gradient boosting on {', '.join(plain)}")]
        found.append((tables.Trees({name: used[name] for name in plain}), boosted))
    return found


def _named(form: Form, strength: float) -> str:
    return f"ridge regression (alpha = {1 / strength:g})" if form == "value" else f"logistic regression (C = {strength:g})"


def _words(columns: Sequence[str], text: Sequence[str], outlines: Sequence[str]) -> str:
    read, other = [c for c in columns if c in text], [c for c in columns if c not in text]
    other = [f"the outline of {c}" if c in outlines else c for c in other]
    return " and ".join([*([f"TF-IDF of {', '.join(read)}"] if read else []), *([", ".join(other)] if other else [])])


def _linear(form: Form, strength: float) -> Make:
    from sklearn.linear_model import LogisticRegression, Ridge

    if form == "value":
        return lambda: Ridge(alpha=1 / strength)
    return lambda: LogisticRegression(C=strength, max_iter=200)


def _boosted(form: Form, categories: list[bool]) -> Make:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if form == "value" else HistGradientBoostingClassifier
    return lambda: kind(categorical_features=categories, random_state=0)


def _fit(form: Form, make: Make, x: Any, y: Array, width: int) -> Callable[[Any], Array]:
    """A fitted model as a function from features to predictions in the form of the task."""
    with _one_thread():
        fitted = _fitted(form, make, x, y, width)

    def predict(features: Any) -> Array:
        with _one_thread():
            return fitted(features)

    return predict


def _fitted(form: Form, make: Make, x: Any, y: Array, width: int) -> Callable[[Any], Array]:
    if form == "value":
        model = make().fit(x, y)
        return lambda features: np.asarray(model.predict(features))
    if form == "classes":
        return _classes(make, x, y.astype(np.int64), width)
    each = [_classes(make, x, (y[:, k] > 0.5).astype(np.int64), 2) for k in range(width)]
    return lambda features: np.stack([one(features)[:, 1] for one in each], 1)


def _classes(make: Make, x: Any, y: Array, width: int) -> Callable[[Any], Array]:
    """Probabilities of all `width` classes, 0 for those that `y` lacks."""
    seen = np.unique(y)
    if len(seen) == 1:
        return lambda features: np.tile(np.eye(width)[seen[0]], (features.shape[0], 1))
    model = _quiet(make(), x, y)

    def predict(features: Any) -> Array:
        p = np.zeros((features.shape[0], width))
        p[:, seen] = model.predict_proba(features)
        return p

    return predict


def _one_thread() -> Any:
    """For trees: on so few rows several threads wait for each other, on a busy machine 25 times as long (docs/log.md 2026-11-23)."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="openmp")


def _quiet(model: Any, x: Any, y: Array) -> Any:
    """The fitted model. Stopping before the last digit is fine in a baseline, so that warning is not shown."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def _loss(form: Form, y: Array, p: Array) -> float:
    """The loss that choices are made by: squared error, or cross-entropy."""
    if form == "value":
        return float(np.square(p - y).mean())
    given = p[np.arange(len(y)), y.astype(np.int64)] if form == "classes" else np.where(y > 0.5, p, 1 - p)
    return float(-np.log(np.clip(given, 1e-6, 1)).mean())


def _hold_out(y: Array, train: dict[str, list[Any]]) -> tuple[Array, Array, dict[str, list[Any]], dict[str, list[Any]]]:
    order = np.random.default_rng(0).permutation(len(y))
    held, kept = order[: max(1, len(y) // 5)], order[max(1, len(y) // 5) :]
    kept = kept if len(kept) else held
    return y[kept], y[held], _part(train, kept), _part(train, held)


def _part(columns: Mapping[str, Sequence[Any]], rows: Array) -> dict[str, list[Any]]:
    return {name: [values[i] for i in rows] for name, values in columns.items()}


def _width(form: Form, y: Array, classes: int) -> int:
    if form == "value":
        return 1
    return y.shape[1] if form == "labels" else max(classes, int(y.max()) + 1)
