"""What is the same in every topology: the life of one call.

Owns the decision, the record, and the bytes in between. The file to read first is
``exchange.py``. Everything here but ``io`` and ``exchange`` is pure: bytes and values in,
values out; time, chance, disk and network are handed in through ``ports.py``.
"""

from __future__ import annotations

__version__ = "0.1.0"
