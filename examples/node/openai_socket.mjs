// An OpenAI client over the Unix socket, streaming: no port, and the kernel tells who is calling.
//
// npm ci
// node openai_socket.mjs ../../.gatepost/run/agent/agent.sock

import OpenAI from "openai";
import { Agent, fetch } from "undici";

const overSocket = new Agent({ connect: { socketPath: process.argv[2] } });
// The host is a placeholder: on a Unix socket nothing is routed by it. So is the key. Dispatcher and
// fetch must be of one undici; Node's own fetch is another.
const client = new OpenAI({
  baseURL: "http://gatepost/openai/v1",
  apiKey: "held-by-gatepost",
  fetch,
  fetchOptions: { dispatcher: overSocket },
});

const stream = await client.chat.completions.create({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "What is the status of order 42?" }],
  stream: true,
});
for await (const chunk of stream) {
  for (const choice of chunk.choices) process.stdout.write(choice.delta.content ?? "");
}
process.stdout.write("\n");
await overSocket.close();
