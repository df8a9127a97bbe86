"""Transforms that remember: what they keep is state like any other, and each has its inverse."""

from statewise.transforms.difference import Difference
from statewise.transforms.lags import Lags
from statewise.transforms.running_scale import RunningScale
from statewise.transforms.standardize import Standardize

__all__ = ["Difference", "Lags", "RunningScale", "Standardize"]
