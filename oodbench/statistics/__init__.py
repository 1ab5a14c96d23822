"""What two arrays of scores say beside the metrics: intervals, differences, and how far these can be believed."""
