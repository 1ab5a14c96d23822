"""Pages of the site that are written by what they are about: detectors, suites, tasks and image sets."""
