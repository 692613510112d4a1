"""The report in all its shapes: a round trip, a page that needs nothing else, escaped names, a card that the hub reads."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from evaluation.reports import NAMES, report
from omnitune.errors import Mistake
from omnitune.evaluation import tables
from omnitune.evaluation.expect import check
from omnitune.evaluation.page import page
from omnitune.evaluation.report import Report
from omnitune.evaluation.tables import figure, plain

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed, or closed twice; keeps the text, the tags and the ids."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.words = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report().write(folder)
    return folder


@pytest.fixture(scope="module")
def html(written):
    return (written / "report.html").read_text(encoding="utf-8")


def test_a_report_comes_back_as_it_was_written(written):
    assert Report.read(written) == report() == Report.read(written / "report.json")
    assert {p.name for p in written.iterdir()} == {"report.json", "report.md", "report.html", "README.md"}


def test_the_same_report_gives_the_same_bytes(html):
    assert page(report()) == html


def test_the_page_is_well_formed_and_ids_are_its_own(html):
    parser = Balanced()
    parser.feed(html)
    assert not parser.open
    assert len(parser.ids) == len(set(parser.ids)) > 0
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', html)) <= set(parser.ids)
    for svg in re.findall(r"<svg .*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_page_needs_nothing_else(html):
    parser = Balanced()
    parser.feed(html)
    assert not parser.tags & {"script", "link", "iframe", "object", "img", "base"}
    assert not re.search(r"""(?:src|href|url\(|@import)\s*=?\s*["'(]?\s*(?:https?:|//)""", html)
    assert not re.search(r"<[^>]*https?:", html)


def test_names_from_the_data_are_shown_as_they_are_and_never_become_tags(html):
    parser = Balanced()
    parser.feed(html)
    words = " ".join(parser.words)
    assert "b" not in parser.tags and "u" not in parser.tags
    assert all(name in words for name in NAMES[:2])
    assert "<script>alert(1)</script>" in words and "<script>alert" not in html


def test_the_page_shows_every_part(html):
    for word in (
        "after - before",
        "TF-IDF &lt;i&gt;of&lt;/i&gt; text",
        "weighted average",
        "reliability",
        "predicted against true",
        "912 MB",
        "1 min 23 s",
    ):
        assert word in html
    assert html.count("<svg ") == 10


def test_the_terminal_shows_before_and_after():
    lines = str(report()).splitlines()
    header = next(line for line in lines if line.startswith("metric"))
    assert re.split(r"\s{2,}", header) == ["metric", "constant", "simple", "before", "after [95 % interval]", "after - before [95 % interval]"]
    assert any(line.startswith("accuracy") and line.endswith("better") for line in lines)
    assert "warning: inputs.<u>id</u>: Column 'id' & co" in lines


def test_wide_characters_stay_in_their_columns():
    lines = plain([["name", "n"], ["日本", "1"], ["e\u0301", "22"]]).splitlines()
    assert lines[2:] == ["日本   1", "e\u0301     22"]


def test_markdown_tables_have_as_many_cells_in_every_row(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "<script>" not in text.partition("```yaml")[0] and "](http" not in text


def test_the_hub_reads_the_card(written):
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import RepoCard

    data = RepoCard.load(written / "README.md").data.to_dict()
    assert data["base_model"] == ["some/model"] and "pipeline_tag" not in data
    parsed = ModelCardData(**RepoCard.load(written / "README.md").data.to_dict(), ignore_metadata_errors=False)
    accuracy = [r for r in parsed.eval_results or [] if r.metric_type == "accuracy"]
    assert [r.metric_value for r in accuracy] == [report().value("mood", "accuracy")]
    assert accuracy[0].dataset_name == "reviews.parquet"


def test_the_card_names_no_directory_of_this_machine(tmp_path):
    (tmp_path / "model").mkdir()
    recipe = {
        "data": {"from": str(tmp_path / "t.csv")},
        "inputs": {"a": {"kind": "text", "backbone": {"kind": "pretrained", "name": str(tmp_path / "model")}}},
    }
    made = Report("r", {"mood": report().tasks["mood"]}, [], {}, {"rows": {}}, [], recipe, {}, {})
    made.write(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in card and "pipeline_tag: text-classification" in card


def test_damaged_and_absent_reports_are_mistakes(tmp_path):
    with pytest.raises(Mistake, match="no report here"):
        Report.read(tmp_path)
    file = tmp_path / "report.json"
    for text in ("{", "[]", "{}", '{"format": 1}'):
        file.write_text(text)
        with pytest.raises(Mistake, match="damaged"):
            Report.read(tmp_path)
    file.write_text(json.dumps({"format": 99}))
    with pytest.raises(Mistake, match="format 99"):
        Report.read(tmp_path)


def test_expected_ranges():
    accuracy = report().value("mood", "accuracy")
    assert check(report(), {"mood.accuracy": (accuracy, accuracy), "stars.mae": (0, 10)}) == []
    misses = check(report(), {"mood.accuracy": (0.1, 0.2), "mood.nothing": (0, 1), "other.accuracy": (0, 1)})
    assert [m.split(" ")[0] for m in misses] == ["mood.accuracy", "mood.nothing", "other.accuracy"]
    assert f"{accuracy:.4g}, expected 0.1 to 0.2" in misses[0]


def test_figures_are_short():
    assert [figure(v) for v in (None, 0.0, 0.91234, 12.345, 123.45, 1234567.0, 0.00012)] == [
        "n/a", "0.000", "0.912", "12.35", "123.5", "1,234,567", "0.0001",
    ]  # fmt: skip


def test_figures_stand_to_the_right_and_words_to_the_left() -> None:
    table = [
        ["model", "n", "with", "", "text"],
        ["a", "1,234", "+0.10 [-2, 3]", "", "90 cm"],
        ["b", "n/a", "4e-05", "", "2 | x"],
        ["c", "5.0%", "1", "", "wide"],
    ]
    assert tables.markdown(table).splitlines()[1] == "| --- | ---: | ---: | ---: | --- |"


def test_what_each_input_is_worth_stands_in_a_table_and_a_plot(written, html):
    markdown = (written / "report.md").read_text(encoding="utf-8")
    told = report().tasks["mood"]["inputs"]["metrics"]
    value = figure(told["models"]["a|ge alone"]["accuracy"]["value"])
    assert f"| a\\|ge alone | {value} [" in markdown and "| all - this [95 % interval] |" in markdown
    assert "| &lt;i>text&lt;/i> | 0.700 [0.600, 0.800] |" in markdown
    assert markdown.count("### What each input is worth") == html.count("<h3>What each input is worth</h3>") == 1
    assert "&lt;i&gt;text&lt;/i&gt; alone" in html and 'id="task0-inputs-figure_1"' in html
    last = next(line for line in markdown.splitlines() if line.startswith("| a\\|ge alone"))
    assert last.endswith("| better |"), "all inputs are better than this one"
