/**
 * Templates in Jinja: chats as the text that a model was trained on, and questions of tasks. The one
 * module that sees the template library.
 *
 * @module
 */

import { Environment, Interpreter, parse, Template, tokenize } from "@huggingface/jinja";
import { LowbitError } from "../spec/mod.ts";

/** What templates are given beside the messages. */
export interface ChatTemplateOptions {
  /** The template (Jinja). */
  template: string;
  /** The text of the token that begins a text; empty if there is none. */
  bos?: string;
  /** The text of the token that ends a text; empty if there is none. */
  eos?: string;
  /** Whether the text ends where the model is to answer. */
  addGenerationPrompt?: boolean;
}

/**
 * The text of a chat. A {@linkcode LowbitError} `MALFORMED` where the template is no Jinja, or refuses
 * the messages.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { renderChat } from "./chat_template.ts";
 * const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
 * assertEquals(renderChat([{ role: "user", content: "Hi" }], { template }), "<user>Hi");
 * ```
 */
export function renderChat(
  messages: readonly { role: string; content: string }[],
  options: ChatTemplateOptions,
): string {
  const { template, bos = "", eos = "", addGenerationPrompt = false } = options;
  try {
    return new Template(template).render({
      messages,
      bos_token: bos,
      eos_token: eos,
      add_generation_prompt: addGenerationPrompt,
    });
  } catch (cause) {
    throw new LowbitError("MALFORMED", `cannot be used: ${(cause as Error).message}`, {
      field: "chat_template",
      cause,
    });
  }
}

/**
 * The text of a Jinja template with nothing trimmed, as Jinja itself has it with
 * `keep_trailing_newline`. A {@linkcode LowbitError} `MALFORMED` where it is no Jinja.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { renderTemplate } from "./chat_template.ts";
 * assertEquals(renderTemplate("Q: {{ q.strip() }}\nA:\n", { q: " why? " }), "Q: why?\nA:\n");
 * ```
 */
export function renderTemplate(template: string, values: Record<string, unknown>): string {
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries(values)) environment.set(name, value);
    // The tokenizer always takes one newline off the end.
    const program = parse(tokenize(template.replace(/\n$/, "\n\n"), {}));
    return String(new Interpreter(environment).run(program).value);
  } catch (cause) {
    throw new LowbitError("MALFORMED", `cannot be used: ${(cause as Error).message}`, { cause });
  }
}
