"""One file a method. Installed as `oodbench.detectors`; every `Detector` defined in these files is registered."""
