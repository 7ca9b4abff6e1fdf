"""HDR histograms read by NumPy, and written as the percentile distribution (`.hgrm`) that the field's plotters read.

The package's own iterators walk 27,000 buckets in Python, 30 ms for a percentile and a second for a distribution;
here the buckets become two arrays once. Nor are its percentile steps Java's, and its deviation is in another unit than
its mean. Percentiles here are the same numbers as its `get_value_at_percentile`; a test says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

import numpy as np
from hdrh.histogram import HdrHistogram

TICKS: Final = 5  # steps of a distribution per halving of what is left to 100 %


@dataclass(frozen=True, slots=True)
class Counted:
    """The filled buckets of a histogram, rising. Reading one takes about 0.1 ms; it does not follow later counts."""

    values_ns: np.ndarray  # int64[n]: the highest value that falls into each
    sizes_ns: np.ndarray  # int64[n]: how many values fall into each
    counts: np.ndarray  # int64[n], all above 0
    upto: np.ndarray  # int64[n]: counts up to and with each

    @property
    def total(self) -> int:
        """How many values were recorded."""
        return int(self.upto[-1]) if self.upto.size else 0

    @property
    def max_ns(self) -> int:
        """The highest; 0 when there is none."""
        return int(self.values_ns[-1]) if self.values_ns.size else 0

    def at_ns(self, percentile: float) -> int:
        """The value at a percentile above 0, up to 100; 0 when nothing was recorded."""
        wanted = max(int(percentile * self.total / 100 + 0.5), 1)
        return int(self.values_ns[np.searchsorted(self.upto, wanted)]) if self.total else 0

    def mean_and_deviation_ns(self) -> tuple[float, float]:
        """Taken at the middle of each bucket; (0, 0) when nothing was recorded."""
        if not self.total:
            return 0.0, 0.0
        middles = self.values_ns - (self.sizes_ns - 1) // 2
        mean = float(np.average(middles, weights=self.counts))
        return mean, float(np.average((middles - mean) ** 2, weights=self.counts)) ** 0.5

    def steps(self, ticks: int = TICKS) -> Iterator[tuple[float, int, int]]:
        """(percentile, value in nanoseconds, count up to it), ever closer to 100 %, which comes last."""
        if not self.total:
            return
        percentile, last = 0.0, False
        while not last:
            place = int(np.searchsorted(self.upto * 100.0 / self.total, percentile))
            yield percentile, int(self.values_ns[place]), int(self.upto[place])
            last = place == len(self.upto) - 1
            percentile += 100.0 / (ticks * 2 ** (int(np.log2(100.0 / (100.0 - percentile))) + 1))
        yield 100.0, self.max_ns, self.total


def counted(histogram: HdrHistogram) -> Counted:
    """The buckets of a histogram in which anything was counted."""
    every = np.frombuffer(histogram.counts, np.dtype(f"<i{histogram.word_size}"))
    places = np.flatnonzero(every)
    half = histogram.sub_bucket_half_count
    buckets = (places >> histogram.sub_bucket_half_count_magnitude) - 1
    within = (places & (half - 1)) + np.where(buckets < 0, 0, half)
    shifts = np.maximum(buckets, 0) + histogram.unit_magnitude
    sizes_ns = np.int64(1) << shifts
    counts = every[places].astype(np.int64)
    return Counted((within << shifts) + sizes_ns - 1, sizes_ns, counts, np.cumsum(counts))


def hgrm(histogram: HdrHistogram, file: TextIO) -> None:
    """The percentile distribution in microseconds, as outputPercentileDistribution of HdrHistogram (Java) writes it."""
    found = counted(histogram)
    file.write(f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n")
    for percentile, value_ns, upto in found.steps():
        line = f"{value_ns / 1_000:12.3f} {percentile / 100:14.12f} {upto:10d}"
        file.write(f"{line} {100 / (100 - percentile):14.2f}\n" if percentile < 100 else f"{line}\n")
    mean_ns, deviation_ns = found.mean_and_deviation_ns()
    file.write(f"#[Mean    = {mean_ns / 1_000:12.3f}, StdDeviation   = {deviation_ns / 1_000:12.3f}]\n")
    file.write(f"#[Max     = {found.max_ns / 1_000:12.3f}, Total count    = {found.total:12d}]\n")
    file.write(f"#[Buckets = {histogram.bucket_count:12d}, SubBuckets     = {histogram.sub_bucket_count:12d}]\n")
