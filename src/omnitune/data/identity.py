"""Identity: the columns by which rows are the same, and those that hold files."""

from omnitune.recipe import Recipe


def identity(recipe: Recipe) -> list[str]:
    """Columns whose values make two rows the same: as the recipe says, else texts and pictures, else every input."""
    if recipe.data.by:
        return list(recipe.data.by)
    inputs = {recipe.column(name): modality for name, modality in recipe.inputs.items() if name != recipe.unread}
    return [column for column, modality in inputs.items() if modality.content] or list(inputs) or _asked_with(recipe)


def content(recipe: Recipe) -> tuple[list[str], set[str], list[str]]:
    """What `digests` must know of a recipe's columns: those that decide, those that hold files, and those that decide where the first say nothing."""
    return identity(recipe), media(recipe), [recipe.column(name) for name in recipe.inputs if name != recipe.unread] or _asked_with(recipe)


def _asked_with(recipe: Recipe) -> list[str]:
    """The columns that are written into prompts."""
    return [column for task in recipe.tasks for column in recipe.read_by(task).values()]


def media(recipe: Recipe) -> set[str]:
    """Columns that hold files."""
    return {recipe.column(name) for name, modality in recipe.inputs.items() if modality.media}
