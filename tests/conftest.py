"""What every test shares: reproducible draws, and one thread, since the arrays here are tiny."""

import os

import torch
from hypothesis import settings

torch.set_num_threads(1)

pytest_plugins = ["tests.browser"]

settings.register_profile("dev", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
