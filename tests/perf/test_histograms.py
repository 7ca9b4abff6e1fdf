"""Histograms read by NumPy: the package's percentiles, and the distribution that its Java model writes."""

import io
import random

import pytest
from hdrh.histogram import HdrHistogram

from perf.histograms import counted, hgrm
from tests.perf.samples import histogram

# 1 to 10 us, each once, of 1 ns to 60 s with three digits: worked out by hand after HdrHistogram's Java sources, where
# five steps are made until half of what is left to 100 % is left, and a value is the highest of its bucket.
TEN = """\
       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          1           1.00
       1.000 0.100000000000          1           1.11
       2.000 0.200000000000          2           1.25
       3.001 0.300000000000          3           1.43
       4.001 0.400000000000          4           1.67
       5.003 0.500000000000          5           2.00
       6.003 0.550000000000          6           2.22
       6.003 0.600000000000          6           2.50
       7.003 0.650000000000          7           2.86
       7.003 0.700000000000          7           3.33
       8.003 0.750000000000          8           4.00
       8.003 0.775000000000          8           4.44
       8.003 0.800000000000          8           5.00
       9.007 0.825000000000          9           5.71
       9.007 0.850000000000          9           6.67
       9.007 0.875000000000          9           8.00
       9.007 0.887500000000          9           8.89
       9.007 0.900000000000          9          10.00
      10.007 0.912500000000         10          11.43
      10.007 1.000000000000         10
#[Mean    =        5.502, StdDeviation   =        2.874]
#[Max     =       10.007, Total count    =           10]
#[Buckets =           26, SubBuckets     =         2048]
"""


def text(values_ns: list[int]) -> str:
    file = io.StringIO()
    hgrm(histogram(values_ns), file)
    return file.getvalue()


def test_the_distribution_of_ten_values() -> None:
    assert text([1_000 * i for i in range(1, 11)]) == TEN


def test_the_distribution_of_one_value_and_of_none() -> None:
    assert text([7]).splitlines()[2:4] == [
        "       0.007 0.000000000000          1           1.00",
        "       0.007 1.000000000000          1",
    ]
    assert text([]).splitlines()[2:] == [
        "#[Mean    =        0.000, StdDeviation   =        0.000]",
        "#[Max     =        0.000, Total count    =            0]",
        "#[Buckets =           26, SubBuckets     =         2048]",
    ]


@pytest.mark.parametrize("shape", [(1, 60_000_000_000, 3), (1_000, 10_000_000, 2), (1, 3_600_000, 1)], ids=str)
def test_percentiles_are_the_packages_own(shape: tuple[int, int, int]) -> None:
    judge = HdrHistogram(*shape)
    choose = random.Random(1)
    for _ in range(500):
        judge.record_value(int(choose.lognormvariate(11, 1.5)) + 1, choose.randint(1, 9))
    found = counted(judge)
    assert found.total == judge.get_total_count()
    assert found.max_ns == judge.get_highest_equivalent_value(judge.get_max_value())
    for percentile in (0.1, 25, 50, 90, 99, 99.9, 99.99, 100):
        assert found.at_ns(percentile) == judge.get_value_at_percentile(percentile), percentile
    mean, deviation = found.mean_and_deviation_ns()
    assert mean == pytest.approx(judge.get_mean_value(), rel=1e-3)
    assert deviation == pytest.approx(judge.get_stddev(), rel=1e-3)
