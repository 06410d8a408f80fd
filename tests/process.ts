/**
 * The command line as users have it: a process of its own, with the documented permissions and
 * nothing else, without colours and without a terminal.
 *
 * @module
 */

import { assertEquals } from "@std/assert";

/** The folder of the repository. */
export const ROOT: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** What a process left behind. */
export interface Finished {
  /** Its exit code. */
  code: number;
  /** What it printed on stdout. */
  stdout: string;
  /** What it printed on stderr. */
  stderr: string;
}

/** The permissions of commands that only read, and of those that write. */
export const READ: readonly string[] = ["--allow-read"];
/** The documented permissions of commands that write. */
export const WRITE: readonly string[] = ["--allow-read", "--allow-write"];
/** What lists need: nothing. */
export const NONE: readonly string[] = [];

/** Starts `lowbit ARGS`; the caller waits for it, or kills it. */
export function startCli(
  args: string[],
  permissions: readonly string[] = WRITE,
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...permissions, `${ROOT}/cli.ts`, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs `lowbit ARGS` to its end. */
export async function runCli(
  args: string[],
  permissions: readonly string[] = WRITE,
): Promise<Finished> {
  return await finished(startCli(args, permissions));
}

/** The end of a process. */
export async function finished(child: Deno.ChildProcess): Promise<Finished> {
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs a command that must work, with `--json`, and returns its document. */
export async function runJson(
  args: string[],
  permissions: readonly string[] = WRITE,
  // deno-lint-ignore no-explicit-any
): Promise<any> {
  const { code, stdout, stderr } = await runCli([...args, "--json"], permissions);
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trimEnd().split("\n").length, 1, "one document on one line");
  return JSON.parse(stdout);
}

/** Runs another command of Deno in the repository. */
export async function runDeno(args: string[], cwd = ROOT): Promise<Finished> {
  return await finished(
    new Deno.Command(Deno.execPath(), {
      args,
      cwd,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn(),
  );
}
