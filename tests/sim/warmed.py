"""What the process that worlds are forked from imports: a small world has run in it.

Compiling the rule pack, and what a first daemon and a first central service import, took about a
second of each world of some ten. Nothing of it is of one world, so each finds it done. Owns: that
first world, and a heap that the worlds share. Refuses: keeping anything of its history.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from tests.sim.world import Plan, run_world

with tempfile.TemporaryDirectory() as _files:
    run_world(0, Plan(agents=1, calls=1), Path(_files))
gc.collect()
gc.freeze()
