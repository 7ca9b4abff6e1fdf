"""Pictures: which are drawn, of what size, with which axes, lines and names; no pixel is compared.

They need matplotlib, an extra: `./run/test --install` installs it. What needs no picture is judged without it.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perf import plot, report
from perf.report import EXCHANGE, FLOOR, MARKET, REPORT, Curve, Measured
from tests.perf.samples import histogram, ladder, latency, publish, spread


def test_few_rates_are_drawn_percentile_by_percentile_and_many_as_a_ladder() -> None:
    assert list(plot.kinds(latency())) == ["percentiles-10000", "stages-10000"]
    assert list(plot.kinds(ladder())) == ["ladder"]
    assert not plot.kinds(Measured("throughput", {"orders_per_s": 1}))
    nothing = Measured("latency", {}, [Curve(EXCHANGE, REPORT, 10_000, histogram([]))])
    assert not plot.kinds(nothing), "a histogram that counted nothing is no picture"


def test_the_axis_of_nines_gives_each_percentile_its_value() -> None:
    nines, us = plot._by_nines(Curve(EXCHANGE, REPORT, 1, histogram([1_000 * i for i in range(1, 1_001)])))
    assert (nines[0], nines[-1]) == pytest.approx((1, 1_000))
    at = dict(zip(nines.round(6), us, strict=True))
    assert (us[0], us[-1]) == pytest.approx((1, 1_000), rel=1e-3)
    assert at[min(at, key=lambda nine: abs(nine - 10))] == pytest.approx(900, rel=0.01)


def test_labels_that_would_touch_are_left_out() -> None:
    assert plot._apart([10_000, 10_500, 100_000, 990_000, 1_000_000]) == {10_000, 100_000, 1_000_000}


@pytest.mark.parametrize(("us", "text"), [(0.5, "0.5 us"), (120, "120 us"), (1_500, "1.5 ms"), (2e6, "2 s")])
def test_latencies_have_their_unit(us: float, text: str) -> None:
    assert plot._us(us) == text


@pytest.mark.parametrize(("nines", "text"), [(1, "0%"), (2, "50%"), (10, "90%"), (1_000, "99.9%"), (1e6, "99.9999%")])
def test_nines_are_percentiles(nines: float, text: str) -> None:
    assert plot._percent(nines) == text


def test_without_matplotlib_one_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.NoMatplotlib, match=r"pip install --require-hashes -r perf/requirements\.lock"):
        plot.pictures(latency(), tmp_path, "latency")


# ------------------------------------------------------------------------------------------------ drawn


@pytest.fixture
def drawn() -> Iterator[None]:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`: ./run/test --install installs it")
    with plot._style():
        yield


SLOW = Measured("latency", {}, [Curve(EXCHANGE, what, 10_000, spread(120_000)) for what in (REPORT, *report.WAY)])
SAMPLES = [latency(), ladder(), ladder(30_500), SLOW]


def labels(axes: Any) -> tuple[str, str, str]:
    return axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()


def keys(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.usefixtures("drawn")
def test_percentiles_show_exchange_and_floor_in_one_picture() -> None:
    figure = plot.percentiles(latency(), 10_000, "a machine")
    axes = figure.axes[0]
    assert labels(axes) == (
        "Latency at 10,000 orders a second",
        "percentile of orders",
        "latency from the planned time",
    )
    assert keys(figure) == ["exchange, order to report", "exchange, market data", "floor, order to report"]
    assert [line.get_linestyle() for line in axes.lines] == ["-", ":", "--"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0%", "50%", "90%", "99%", "99.9%"]
    assert figure.get_supxlabel() == "a machine"
    report_us, _, floor_us = (line.get_ydata() for line in axes.lines)
    assert report_us[-1] == pytest.approx(7_000, rel=0.01), "the longest"
    assert floor_us[-1] == pytest.approx(6_000, rel=0.01)


@pytest.mark.usefixtures("drawn")
def test_medians_of_stages_stand_one_behind_the_other() -> None:
    figure = plot.stages(latency(), 10_000)
    left, right = figure.axes
    names = [tick.get_text() for tick in left.get_yticklabels()]
    assert names[:2] + names[-1:] == ["planned to left", "left to gateway", "whole: planned to received"]
    assert len(names) == len(report.WAY) + len(report.BESIDE) + 1
    assert (left.get_xlabel(), right.get_xlabel()) == ("latency, us", "latency, us")
    way = left.patches[: len(report.WAY)]
    for bar, following in itertools.pairwise(way):
        assert following.get_x() == pytest.approx(bar.get_x() + bar.get_width())
    assert {bar.get_x() for bar in [*left.patches[len(report.WAY) :], *right.patches]} == {0}
    assert plot.stages(SLOW, 10_000).axes[1].get_xlabel() == "latency, ms"
    for axes in (left, right):
        assert axes.get_xlim()[1] > max(bar.get_x() + bar.get_width() for bar in axes.patches)


@pytest.mark.usefixtures("drawn")
def test_the_ladder_has_the_floor_dashed_and_void_runs_hollow() -> None:
    figure = plot.ladder(ladder())
    axes = figure.axes[0]
    assert labels(axes) == ("Order to report, as the rate rises", "orders a second", "latency from the planned time")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10k", "30k", "100k"]
    assert keys(figure) == [f"{who} {each}" for each in ("p50", "p99", "p99.9") for who in (EXCHANGE, FLOOR)]
    dashed = {line.get_label().split()[0] for line in axes.lines if line.get_linestyle() == "--"}
    assert dashed == {FLOOR}
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[100_000]] * 3
    assert {line.get_color() for line in hollow} == {plot._COLOURS[EXCHANGE]}


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("measured", SAMPLES, ids=["latency", "ladder", "close rates", "slow"])
def test_every_text_of_a_picture_lies_within_it_and_on_no_other(measured: Measured) -> None:
    for draw in plot.kinds(measured).values():
        figure = draw("a machine of ours, a date, a commit")
        figure.draw_without_rendering()
        texts = [text for legend in figure.legends for text in [*legend.get_texts(), legend.get_title()]]
        texts += [figure._supxlabel]
        for axes in figure.axes:
            texts += [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
                texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [
            (text.get_text(), text.get_window_extent()) for text in texts if text.get_text() and text.get_visible()
        ]
        for i, (name, box) in enumerate(boxes):
            assert box.x0 >= 0, name
            assert box.y0 >= 0, name
            assert box.x1 <= figure.bbox.x1, name
            assert box.y1 <= figure.bbox.y1, name
            assert [other for other, its in boxes[:i] if box.overlaps(its) and its.width] == [], name


@pytest.mark.usefixtures("drawn")
def test_files_have_the_stated_size(tmp_path: Path) -> None:
    paths = plot.pictures(latency(), tmp_path / "new", "stem", "a machine")
    assert [path.name for path in paths] == ["stem-percentiles-10000.png", "stem-stages-10000.png"]
    for path in paths:
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        wide, high = (round(inches * plot.DOTS_PER_INCH) for inches in plot.SIZE_INCHES)
        assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (wide, high)
        assert path.stat().st_size < 300_000


@pytest.mark.usefixtures("drawn")
def test_rivals_unknown_and_without_stages_are_drawn_too() -> None:
    curves = [Curve(who, what, 0, spread(900)) for who in ("redis", "nats", "else") for what in (REPORT, MARKET)]
    kinds = plot.kinds(Measured("brokers", {}, curves))
    assert list(kinds) == ["percentiles-0"]
    figure = kinds["percentiles-0"]("")
    assert labels(figure.axes[0])[0] == "Latency at full speed"
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3


@pytest.mark.usefixtures("drawn")
def test_published_runs_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    monkeypatch.setattr(report, "RESULTS", results)
    path = publish(ladder(), results)
    assert plot.main([str(path)]) == 0
    assert [each.name for each in results.glob("*.png")] == [f"{path.stem}-ladder.png"]
    assert plot.main(["--out", str(tmp_path / "out")]) == 0
    assert {each.suffix for each in (tmp_path / "out").iterdir()} == {".png", ".hgrm"}
