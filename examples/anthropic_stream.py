"""An Anthropic client pointed at Gatepost by its own environment variable, streaming.

eval "$(gatepost env)"
python examples/anthropic_stream.py
"""

from __future__ import annotations

import anthropic

client = anthropic.Anthropic()
with client.messages.stream(
    model="claude-sonnet-5-5",
    max_tokens=64,
    messages=[{"role": "user", "content": "What is the status of order 42?"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
