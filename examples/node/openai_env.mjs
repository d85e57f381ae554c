// An OpenAI client pointed at Gatepost by its own environment variable, and nothing else.
//
// npm ci
// eval "$(gatepost env)"
// node openai_env.mjs

import OpenAI from "openai";

const client = new OpenAI();
const ask = (model) =>
  client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "What is the status of order 42?" }],
  });

const answer = await ask("gpt-4o-mini");
console.log(answer.choices[0].message.content);

try {
  await ask("gpt-4-unapproved");
} catch (denied) {
  if (!(denied instanceof OpenAI.PermissionDeniedError)) throw denied;
  console.log(`${denied.code}: ${denied.message}`);
}
