/**
 * Files behind HTTP(S): servers that answer range requests. What breaks off goes on where it was.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { allocate, checkRange } from "../containers/source.ts";
import { retried } from "./retry.ts";
import { shownUrl, statusError, transferError } from "./settings.ts";

/** Options of {@linkcode httpSource}. */
export interface HttpOptions {
  /** Headers sent with every request, for access tokens. */
  headers?: Record<string, string>;
  /** Another `fetch`, for tests. */
  fetch?: typeof fetch;
}

/** A file on a server, with what tells its versions apart. */
export interface RemoteFile extends ByteSource {
  /** The entity tag, if the server sends one. */
  readonly etag?: string;
}

/** How a range of a file is asked for. */
export type RequestRange = (range: string) => Promise<Response>;

/** Bytes after which a transfer that breaks off has all its attempts again. */
const MUCH = 1 << 20;

/**
 * A URL whose server answers range requests; only the bytes that are read are transferred. A user and
 * password in the URL are sent as such, and are in no message.
 *
 * Errors: `NOT_FOUND` (404), `UNSUPPORTED` (a server without ranges), `TRUNCATED`, `IO`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { httpSource } from "./http.ts";
 * // A server of three bytes; without `fetch` the one of the runtime is asked.
 * const fetch = (_url: unknown, init?: RequestInit) => {
 *   const [, from, to] = /(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range")!)!;
 *   const headers = { "content-range": `bytes ${from}-${to}/3` };
 *   const body = Uint8Array.of(1, 2, 3).slice(Number(from), Number(to) + 1);
 *   return Promise.resolve(new Response(body, { status: 206, headers }));
 * };
 * const source = await httpSource("https://example.org/three.bin", { fetch });
 * assertEquals([...await source.read(1, 2)], [2, 3]);
 * ```
 */
export function httpSource(url: string, options: HttpOptions = {}): Promise<RemoteFile> {
  const address = new URL(url);
  const headers: Record<string, string> = { ...options.headers };
  if (address.username || address.password) {
    const [user, password] = [address.username, address.password].map(decodeURIComponent);
    headers.authorization = `Basic ${btoa(`${user}:${password}`)}`;
    address.username = address.password = "";
  }
  address.hash = "";
  const request = options.fetch ?? fetch;
  return rangedFile(
    shownUrl(url),
    (range) => request(address.href, { headers: { ...headers, range } }),
    "check the user and password, or the token in the URL",
  );
}

/** A file that is read by ranges; `secret` says what to check where access is refused. */
export async function rangedFile(
  name: string,
  request: RequestRange,
  secret: string,
): Promise<RemoteFile> {
  const ask = async (offset: number, length: number): Promise<Response> => {
    let response: Response;
    try {
      response = await request(`bytes=${offset}-${offset + length - 1}`);
    } catch (error) {
      throw transferError(error, name);
    }
    if (response.status === 206) return response;
    await response.body?.cancel();
    if (response.ok || response.status === 416) {
      throw new LowbitError("UNSUPPORTED", "the server ignores range requests", {
        file: name,
        advice: "download the file and open the copy",
      });
    }
    throw statusError(response.status, name, secret);
  };
  const first = await retried(() => ask(0, 1));
  await first.arrayBuffer().catch((error) => {
    throw transferError(error, name);
  });
  const total = /\/(\d{1,15})$/.exec(first.headers.get("content-range") ?? "")?.[1];
  if (total === undefined) {
    throw new LowbitError("UNSUPPORTED", "the server does not say how large the file is", {
      file: name,
      advice: "download the file and open the copy",
    });
  }
  const size = Number(total);
  const etag = first.headers.get("etag") ?? undefined;
  return {
    name,
    size,
    etag,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      const bytes = allocate(name, length);
      let done = 0;
      let before = 0;
      const rest = async () => {
        before = done;
        const response = await ask(offset + done, length - done);
        checkSame(name, response, etag, offset + done, size);
        try {
          for await (const chunk of response.body!) {
            if (done + chunk.length > length) {
              throw new LowbitError("MALFORMED", "the server sent more than was asked for", {
                file: name,
              });
            }
            bytes.set(chunk, done);
            done += chunk.length;
          }
        } catch (error) {
          throw transferError(error, name);
        }
        if (done < length) {
          throw new LowbitError("TRUNCATED", `the server sent ${done} of ${length} bytes`, {
            file: name,
          });
        }
      };
      if (length > 0) await retried(rest, () => done - before >= MUCH);
      return bytes;
    },
    close() {},
  };
}

/** Refuses an answer that is of another version of the file, or of other bytes. */
function checkSame(
  file: string,
  response: Response,
  etag: string | undefined,
  offset: number,
  size: number,
): void {
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  const tag = response.headers.get("etag") ?? undefined;
  const other = (etag !== undefined && tag !== undefined && tag !== etag) ||
    (range && range[2] !== "*" && Number(range[2]) !== size);
  if (other) {
    throw new LowbitError("MALFORMED", "was changed while it was read", {
      file,
      advice: "run the command again",
    });
  }
  if (range && Number(range[1]) !== offset) {
    throw new LowbitError("MALFORMED", `the server sent bytes from ${range[1]}, not ${offset}`, {
      file,
    });
  }
}
