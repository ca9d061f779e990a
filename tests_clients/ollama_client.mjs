// The official ollama package for Node: prints one JSON object of what it got. Arguments: base URL.
import { Ollama } from "ollama";

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: "user", content: "你好" }];
const found = {};

found.models = (await client.list()).models.map((model) => model.name);
found.shown = Object.keys((await client.show({ model: "plain" })).model_info);
found.whole = (await client.chat({ model: "plain", messages, options: { temperature: 0 } })).message.content;
found.streamed = "";
for await (const part of await client.chat({ model: "plain", messages, stream: true, options: { temperature: 0 } })) {
  found.streamed += part.message.content;
  if (part.done) found.done = part.done_reason;
}
found.generated = (await client.generate({ model: "plain", prompt: "你好", options: { temperature: 0 } })).response;
const tools = [{ type: "function", function: {
  name: "get_weather", description: "The weather",
  parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } } } }];
const called = await client.chat({ model: "tools", messages, tools, think: true, options: { temperature: 0 } });
found.calls = called.message.tool_calls.map((call) => [call.function.name, call.function.arguments]);
found.thinking = called.message.thinking;
try {
  await client.chat({ model: "nobody", messages });
} catch (error) {
  found.error = { status: error.status_code, text: error.message };
}
found.running = (await client.ps()).models.map((model) => model.name);
console.log(JSON.stringify(found));
