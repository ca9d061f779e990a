// The official openai package for Node: prints one JSON object of what it got. Arguments: base URL.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "any", maxRetries: 0 });
const messages = [{ role: "user", content: "你好" }];
const found = {};

found.models = (await client.models.list()).data.map((model) => model.id);
const whole = await client.chat.completions.create({ model: "plain", messages, temperature: 0 });
found.whole = whole.choices[0].message.content;
found.usage = whole.usage;

found.streamed = "";
found.finish = [];
const stream = await client.chat.completions.create({
  model: "plain", messages, temperature: 0, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  found.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.choices[0]?.finish_reason) found.finish.push(chunk.choices[0].finish_reason);
  if (chunk.usage) found.streamedUsage = chunk.usage;
}

const tools = [{ type: "function", function: {
  name: "get_weather", description: "The weather",
  parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } } } }];
const called = await client.chat.completions.create({ model: "tools", messages, tools, temperature: 0 });
found.calls = called.choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
found.reasoning = called.choices[0].message.reasoning_content;

const asked = { model: "tools", input: "Hi", temperature: 0,
  tools: [{ type: "function", strict: false, ...tools[0].function }] };
const response = await client.responses.stream(asked).finalResponse();
found.response = response.output.map((item) => item.content?.[0].text ?? JSON.parse(item.arguments));

try {
  await client.chat.completions.create({ model: "nobody", messages });
} catch (error) {
  found.error = { status: error.status, code: error.code, type: error.constructor.name };
}

const controller = new AbortController();
let pieces = 0;
try {
  const broken = await client.chat.completions.create(
    { model: "plain", messages, temperature: 0, stream: true }, { signal: controller.signal });
  for await (const _ of broken) if (++pieces === 2) controller.abort();
} catch (error) {
  found.aborted = error.constructor.name;
}
found.pieces = pieces;
const after = await client.chat.completions.create({ model: "plain", messages, temperature: 0 });
found.after = after.choices[0].message.content === found.whole;
console.log(JSON.stringify(found));
