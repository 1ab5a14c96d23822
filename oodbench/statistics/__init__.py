"""Statistics of two arrays of scores beside the metrics: intervals, differences, and how far these can be believed."""
