"""An OpenAI client over the Unix socket: no port, and the kernel tells who is calling.

python examples/openai_socket.py .gatepost/run/agent/agent.sock
"""

from __future__ import annotations

import sys

import httpx2
import openai

over_socket = httpx2.Client(transport=httpx2.HTTPTransport(uds=sys.argv[1]))
# The host is a placeholder: on a Unix socket nothing is routed by it. So is the key.
client = openai.OpenAI(
    base_url="http://gatepost/openai/v1", api_key="held-by-gatepost", http_client=over_socket
)
stream = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "What is the status of order 42?"}],
    stream=True,
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
