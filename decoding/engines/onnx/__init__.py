"""A model as one ONNX graph: made once from its weights, kept in the cache, computed by ONNX Runtime."""

import os

# Set before onnxruntime is imported, whose telemetry is on by default in its Linux wheels: it would look up a host at
# every start, and write an id of this machine into the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
