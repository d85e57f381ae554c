"""What lies beyond a gateway, for the demo and the tests: a model provider and a tool server.

Both are processes of their own that speak the real wire formats, count what reaches them and
answer with made-up text; neither shares code with the gateway, so that a mistake cannot cancel
itself out.
"""

from __future__ import annotations
