/**
 * `lowbit plugins`: what there is, a new one, and whether one holds the contract.
 *
 * @module
 */

import { stringify } from "@std/yaml";
import { PLUGINS } from "../plugins/mod.ts";
import { LowbitError, type Plugin, PLUGIN_HOOKS, unknownName } from "../spec/mod.ts";
import { CHECKS, inspectPlugin, type PluginReport } from "../testing/mod.ts";
import type { Arguments, Command } from "./arguments.ts";
import { importPlugin, readObject } from "./inputs.ts";
import { plain, print } from "./lists.ts";
import { newPlugin } from "./new_plugin.ts";
import { writeLine } from "./progress.ts";
import { table } from "./table.ts";

type Action = (args: Arguments, name: string) => Promise<number | void> | number | void;

/** What can be done; all but `list` need a name. */
const ACTIONS: Record<string, Action> = { list, show, new: create, test };

/** The command `plugins`. */
export const pluginsCommand: Command = {
  name: "plugins",
  usage: "[list | show NAME | new NAME | test PATH]",
  summary: "The algorithms: list them, make one of your own, test it against the contract.",
  positional: [0, 2],
  options: [
    {
      name: "scheme",
      type: "text",
      value: "ID",
      help: "test: only this scheme or vector format",
      many: true,
    },
    { name: "options", type: "text", value: "JSON", help: "test: options of the plugin" },
  ],
  run(args) {
    const [action = "list", name] = args.positional;
    if (!Object.hasOwn(ACTIONS, action)) {
      const { problem, advice } = unknownName("action", action, Object.keys(ACTIONS));
      throw new LowbitError("USAGE", problem, { advice });
    }
    if (action !== "list" && name === undefined) {
      throw new LowbitError("USAGE", `${action} needs a ${action === "test" ? "path" : "name"}`, {
        advice: "see `lowbit plugins --help`",
      });
    }
    return ACTIONS[action](args, name);
  },
};

function list(args: Arguments): void {
  print(args, PLUGINS.map(describePlugin), () =>
    table(
      ["plugin", "hooks", "paper", "what it does"],
      PLUGINS.map((p) => [
        p.meta.name,
        hooksOf(p).join(", "),
        p.meta.paper?.id ?? "-",
        p.meta.summary,
      ]),
    ));
}

function show(args: Arguments, name: string): void {
  const plugin = PLUGINS.find((p) => p.meta.name === name);
  if (!plugin) throw unknownName("plugin", name, PLUGINS.map((p) => p.meta.name));
  const document = describePlugin(plugin);
  print(args, document, () => stringify(plain(document)).trimEnd());
}

function describePlugin(plugin: Plugin) {
  return { ...plugin.meta, hooks: hooksOf(plugin), options: plugin.options.jsonSchema() };
}

function hooksOf(plugin: Plugin): string[] {
  return PLUGIN_HOOKS.filter((hook) => plugin[hook] !== undefined);
}

/** Writes the files of a new plugin into a folder of its name. */
function create(args: Arguments, name: string): void {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length > 60) {
    throw new LowbitError("USAGE", `${JSON.stringify(name)} is no name of a plugin`, {
      advice: "use lower case words joined by -, such as my-method",
    });
  }
  const files = newPlugin(name, checkoutFrom(name));
  try {
    Deno.mkdirSync(name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) {
      throw new LowbitError("IO", (cause as Error).message, {
        file: name,
        cause,
        advice: "name a folder that can be written",
      });
    }
    throw new LowbitError("EXISTS", "is already there", { file: name, advice: "choose another" });
  }
  for (const [path, text] of files) {
    const folder = path.split("/").slice(0, -1).join("/");
    if (folder) Deno.mkdirSync(`${name}/${folder}`, { recursive: true });
    Deno.writeTextFileSync(`${name}/${path}`, text);
  }
  const made = { folder: name, files: [...files.keys()] };
  print(
    args,
    made,
    () =>
      [`${name}/`, ...made.files.map((file) => `  ${file}`), "", `cd ${name} && deno task test`]
        .join("\n"),
  );
}

/** The checkout that this program runs from, as seen from a folder below the current one. */
function checkoutFrom(folder: string): string | undefined {
  const root = new URL("..", import.meta.url);
  if (root.protocol !== "file:") return undefined;
  const from = new URL(`${folder}/`, `file://${Deno.cwd()}/`).pathname.split("/").filter(Boolean);
  const to = root.pathname.split("/").filter(Boolean);
  let shared = 0;
  while (shared < Math.min(from.length, to.length) && from[shared] === to[shared]) shared++;
  const path = [...Array(from.length - shared).fill(".."), ...to.slice(shared)].join("/");
  return decodeURIComponent(path);
}

/** Holds the plugins of a module to the contract; 1 where one does not hold it. */
async function test(args: Arguments, path: string): Promise<number> {
  const schemes = args.texts("scheme");
  const options = readObject(args, "options");
  const reports: PluginReport[] = [];
  for (const plugin of await importPlugin(path)) {
    reports.push(
      await inspectPlugin(plugin, { options, ...schemes.length > 0 && { schemes } }),
    );
  }
  if (args.flag("json")) writeLine(JSON.stringify(reports));
  else {reports.forEach(({ plugin, checks }) => {
      const rows = checks.map(({ check, outcome, cases, problems }) => [
        check,
        outcome,
        String(cases),
        problems.join("; ") || CHECKS[check],
      ]);
      writeLine(table([plugin, "", "cases", ""], rows));
    });}
  return reports.every(({ ok }) => ok) ? 0 : 1;
}
