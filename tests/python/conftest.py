"""Settings shared by all Python tests."""

import os

# For NumPy's references, before it is imported: as many workers as processors run already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# Random examples in every run; a failure prints the blob that repeats it.
settings.register_profile(
    "default",
    max_examples=200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("default"), database=None)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=3000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)
