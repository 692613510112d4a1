from omnitune.errors import Mistake, did_you_mean


def test_a_mistake_reads_as_place_problem_and_cure() -> None:
    assert str(Mistake("tasks.mood.target", "required")) == "tasks.mood.target: required"
    assert str(Mistake("a.csv row 3", "not a number", "Mend it")) == "a.csv row 3: not a number. Mend it"


def test_together_keeps_every_part_in_order() -> None:
    whole = Mistake.together([Mistake("a", "x"), Mistake.together([Mistake("b", "y"), Mistake("c", "z")])])
    assert [part.where for part in whole.parts] == ["a", "b", "c"]
    assert str(whole).splitlines() == ["a: x", "b: y", "c: z"]


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("txt", ["text", "image"]) == "Did you mean 'text'? There are: image, text"
    assert did_you_mean("zzz", ["text"]) == "There are: text"


def test_of_a_part_of_something_the_whole_path_is_said() -> None:
    inside = Mistake.together([Mistake("separator", "is wrong", "Mend it"), Mistake("", "is odd")]).under("inputs.tags")
    assert str(inside) == "inputs.tags.separator: is wrong. Mend it\ninputs.tags: is odd"
