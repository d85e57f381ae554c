"""An OpenAI client pointed at Gatepost by its own environment variable, and nothing else.

eval "$(gatepost env)"
python examples/openai_env.py
"""

from __future__ import annotations

import openai

client = openai.OpenAI()
answer = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "What is the status of order 42?"}],
)
print(answer.choices[0].message.content)

try:
    client.chat.completions.create(
        model="gpt-4-unapproved",
        messages=[{"role": "user", "content": "What is the status of order 42?"}],
    )
except openai.PermissionDeniedError as denied:
    print(f"{denied.code}: {denied.message}")
