#!/bin/sh
# One call over the Unix socket with curl: sh examples/curl_socket.sh .gatepost/run/agent/agent.sock
set -eu
curl --silent --show-error --unix-socket "$1" \
    http://gatepost/openai/v1/chat/completions \
    --header 'content-type: application/json' \
    --data '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'
echo
