/**
 * How remote checkpoints are opened, and the environment that says how.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";

/** Where checkpoints may come from, and what may be read of them. */
export interface SourceOptions {
  /**
   * Reads tensors out of pickled PyTorch files: a list of opcodes and names as data, nothing is
   * executed. Such files are refused without it.
   */
  pickleTensors?: boolean;
  /**
   * Fetches whole files into the cache, with their sizes and hashes checked, before they are read;
   * an interrupted transfer goes on where it was. Without it remote files are read by ranges.
   */
  download?: boolean;
  /** Environment variables, instead of those of the process. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Another `fetch`, for tests and proxies. */
  fetch?: typeof fetch;
}

/**
 * An environment variable. One that the process may not read is as one that is not set, so that
 * commands that need none run without the permission.
 */
export function environment(options: SourceOptions, name: string): string | undefined {
  if (options.env) return options.env[name] || undefined;
  const deno = (globalThis as { Deno?: typeof Deno }).Deno;
  if (!deno) return undefined;
  try {
    const { state } = deno.permissions.querySync({ name: "env", variable: name });
    return state === "granted" ? deno.env.get(name) || undefined : undefined;
  } catch {
    return undefined;
  }
}

/** A URL without what may be secret: user, password, query and fragment. */
export function shownUrl(url: string | URL): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

/** A failure of a transfer as one line that holds no address with a secret. */
export function transferError(error: unknown, file: string): LowbitError {
  if (error instanceof LowbitError) return error;
  const name = error instanceof Error ? error.name : "";
  if (name === "NotCapable") {
    const host = /^[a-z]+:\/\/([^/]+)/.exec(file)?.[1];
    return new LowbitError("IO", "no permission to reach the network", {
      file,
      advice: `run with --allow-net${host && !file.startsWith("s3:") ? `=${host}` : ""}`,
    });
  }
  const text = error instanceof Error ? error.message : String(error);
  const plain = text.replace(/[a-z][a-z0-9+.-]*:\/\/[^\s)'"]*/gi, file).slice(0, 300);
  return new LowbitError("IO", `the transfer failed: ${plain}`, { file });
}

/** What a status of HTTP means here. */
export function statusError(status: number, file: string, secret: string): LowbitError {
  if (status === 404) return new LowbitError("NOT_FOUND", "the server answers 404", { file });
  if (status === 401 || status === 403) {
    return new LowbitError("IO", `the server answers ${status}: access is refused`, {
      file,
      advice: secret,
    });
  }
  return new LowbitError("IO", `the server answers ${status}`, { file });
}
