/**
 * Objects of S3-compatible storage: `s3://BUCKET/KEY` for a file, `s3://BUCKET/PREFIX/` for a folder.
 * Requests are signed by a library; without credentials they are sent unsigned, for public buckets.
 *
 * @module
 */

import { AwsClient } from "aws4fetch";
import { LowbitError } from "../../spec/errors.ts";
import { byCodeUnits } from "../containers/json.ts";
import type { Folder } from "../dialects/folder.ts";
import { rangedFile, type RemoteFile } from "./http.ts";
import { environment, type SourceOptions, statusError, transferError } from "./settings.ts";

const ADVICE = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may read";
/** Pages of a listing, of a thousand names each. */
const MAX_PAGES = 10;
const MAX_LISTING = 16 << 20;

interface Bucket {
  base: string;
  request(url: string, headers?: Record<string, string>): Promise<Response>;
}

function bucketOf(bucket: string, options: SourceOptions): Bucket {
  const env = (name: string) => environment(options, name);
  const region = env("AWS_REGION") ?? env("AWS_DEFAULT_REGION") ?? "us-east-1";
  const endpoint = env("AWS_ENDPOINT_URL_S3") ?? env("AWS_ENDPOINT_URL");
  const base = endpoint
    ? `${endpoint.replace(/\/+$/, "")}/${bucket}`
    : `https://${bucket}.s3.${region}.amazonaws.com`;
  const [accessKeyId, secretAccessKey] = [env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")];
  const request = options.fetch ?? fetch;
  if (!accessKeyId || !secretAccessKey) {
    return { base, request: (url, headers = {}) => request(url, { headers }) };
  }
  const sessionToken = env("AWS_SESSION_TOKEN");
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    sessionToken,
    region,
    service: "s3",
  });
  return {
    base,
    request: async (url, headers = {}) => {
      const signed = await client.sign(url, { headers });
      return await request(signed.url, { headers: signed.headers });
    },
  };
}

/** What an address of S3 names. */
export async function s3Source(
  address: string,
  options: SourceOptions,
): Promise<RemoteFile | Folder> {
  const [, bucket, key] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,62})\/(.*)$/.exec(address) ?? [];
  if (bucket === undefined) {
    throw new LowbitError("USAGE", "is not s3://BUCKET/KEY", { file: address });
  }
  const place = bucketOf(bucket, options);
  const file = (name: string) => {
    const path = name.split("/").map(encodeURIComponent).join("/");
    return rangedFile(
      `s3://${bucket}/${name}`,
      (range) => place.request(`${place.base}/${path}`, { range }),
      ADVICE,
    );
  };
  if (/\.(safetensors|gguf|npy|npz|bin|pt|pth|onnx)$/i.test(key)) return await file(key);
  const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
  const names = await list(address, place, prefix);
  return {
    name: address.replace(/\/$/, ""),
    names,
    open(name) {
      if (names.includes(name)) return file(prefix + name);
      throw new LowbitError("NOT_FOUND", "no such object", { file: `${address}/${name}` });
    },
  };
}

/** The names of the objects right under a prefix. */
async function list(address: string, place: Bucket, prefix: string): Promise<string[]> {
  const names: string[] = [];
  let next: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const query = new URLSearchParams({ "list-type": "2", prefix });
    if (next !== undefined) query.set("continuation-token", next);
    let response: Response;
    try {
      response = await place.request(`${place.base}/?${query}`);
    } catch (error) {
      throw transferError(error, address);
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw statusError(response.status, address, ADVICE);
    }
    const text = await response.text();
    if (text.length > MAX_LISTING) {
      throw new LowbitError("LIMIT", "its listing is too long", { file: address });
    }
    for (const [, key] of text.matchAll(/<Key>([^<]*)<\/Key>/g)) {
      const name = unescapeXml(key).slice(prefix.length);
      if (/^(onnx\/)?[^/\\]+$/.test(name)) names.push(name);
    }
    next = /<NextContinuationToken>([^<]*)</.exec(text)?.[1];
    if (next === undefined) break;
    next = unescapeXml(next);
  }
  if (names.length === 0) {
    throw new LowbitError("NOT_FOUND", "there are no objects under it", { file: address });
  }
  return names.sort(byCodeUnits);
}

function unescapeXml(text: string): string {
  const names: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(lt|gt|quot|apos|amp);|&#(\d{1,7});/g, (_, name, code) => {
    return name ? names[name] : String.fromCodePoint(Number(code));
  });
}
