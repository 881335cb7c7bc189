"""Lets the tests in this folder import ``asynchronous_cases``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
