/**
 * Models on the Hugging Face hub, through its own library: `hf://ORG/NAME[@REVISION]`. The revision is
 * pinned to its commit before a file is read. The cache is laid out as that of other programs, so that
 * they share it.
 *
 * @module
 */

import type { ByteSource } from "../../spec/checkpoint.ts";
import { LowbitError } from "../../spec/errors.ts";
import { blobSource } from "../containers/source.ts";
import type { Folder } from "../dialects/folder.ts";
import { byCodeUnits } from "../containers/json.ts";
import { cached, cacheRoot } from "./cache.ts";
import { retried } from "./retry.ts";
import { environment, type SourceOptions, statusError, transferError } from "./settings.ts";

const ADVICE = "set HF_TOKEN to a token that may read it";

/** The folder of a model at a commit. */
export async function hubFolder(address: string, options: SourceOptions): Promise<Folder> {
  const [, repo, revision = "main"] =
    /^hf:\/\/([\w.-]+\/[\w.-]+|[\w.-]+)(?:@([\w./-]{1,128}))?\/?$/.exec(address) ?? [];
  if (repo === undefined || /(^|\/)\.\.?(\/|$)/.test(`${repo}/${revision}`)) {
    throw new LowbitError("USAGE", "is not hf://ORG/NAME[@REVISION]", { file: address });
  }
  const { listFiles, modelInfo, downloadFile } = await import("@huggingface/hub");
  const accessToken = await token(options);
  const common = {
    ...(accessToken !== undefined && { accessToken }),
    hubUrl: (environment(options, "HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    ...(options.fetch && { fetch: options.fetch }),
  };
  const model = { type: "model" as const, name: repo };
  const files = new Map<string, { size: number; git?: string; sha256?: string }>();
  const commit = await retried(() =>
    hub(address, async () => {
      files.clear();
      const { sha } = await modelInfo({
        ...common,
        name: repo,
        revision,
        additionalFields: ["sha"],
      });
      for await (
        const file of listFiles({ ...common, repo: model, revision: sha, recursive: true })
      ) {
        if (file.type !== "file" || !/^(onnx\/)?[^/\\]+$/.test(file.path)) continue;
        files.set(file.path, { size: file.size, git: file.oid, sha256: file.lfs?.oid });
      }
      return sha;
    })
  );
  if (!/^[0-9a-f]{40}$/.test(commit)) {
    throw new LowbitError("MALFORMED", "the hub names no commit", { file: address });
  }
  const root = options.download ? hubCache(options) : undefined;
  const cache = root && `${root}/models--${repo.replaceAll("/", "--")}`;
  const name = `hf://${repo}@${commit}`;
  if (cache) await writeReference(cache, revision, commit);
  return {
    name,
    names: [...files.keys()].sort(byCodeUnits),
    async open(path) {
      const file = files.get(path);
      if (!file) throw new LowbitError("NOT_FOUND", "no such file", { file: `${name}/${path}` });
      const title = `${name}/${path}`;
      const request = { ...common, repo: model, path, revision: commit };
      const blob = await retried(() => hub(title, () => downloadFile(request)));
      if (!blob) throw new LowbitError("NOT_FOUND", "no such file", { file: title });
      if (blob.size !== file.size) {
        throw new LowbitError("MALFORMED", `has ${blob.size} bytes, the hub lists ${file.size}`, {
          file: title,
        });
      }
      const remote = steady(blobSource(blob, title));
      const key = file.sha256 ?? file.git;
      if (!cache || !key || !/^[0-9a-f]{40,64}$/.test(key)) return remote;
      const wanted = file.sha256 ? { sha256: file.sha256 } : { git: file.git };
      const source = await cached(remote, `${cache}/blobs/${key}`, wanted);
      await link(`${cache}/snapshots/${commit}`, path, key);
      return source;
    },
  };
}

/** A source whose reads are tried again where a transfer breaks off. */
function steady(source: ByteSource): ByteSource {
  return {
    ...source,
    read: (offset, length) => retried(() => hub(source.name, () => source.read(offset, length))),
  };
}

/** Does something with the library; its errors become ours, without addresses and tokens. */
async function hub<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const inner = error instanceof LowbitError ? error.cause ?? error : error;
    const status = (inner as { statusCode?: number } | undefined)?.statusCode;
    if (status !== undefined) throw statusError(status, file, ADVICE);
    if (error instanceof LowbitError && error.code !== "IO") throw error;
    throw transferError(inner instanceof LowbitError ? new Error(inner.problem) : inner, file);
  }
}

/** The folder of the hub's cache, as its own library for Python has it. */
function hubCache(options: SourceOptions): string | undefined {
  const home = environment(options, "HF_HOME");
  const root = cacheRoot(options);
  return home ? `${home}/hub` : root && `${root}/huggingface/hub`;
}

/** The access token: `HF_TOKEN`, or the file that a login left in `HF_HOME`. */
async function token(options: SourceOptions): Promise<string | undefined> {
  const stated = environment(options, "HF_TOKEN")?.trim();
  const home = environment(options, "HF_HOME");
  let found = stated;
  if (!found && home) {
    try {
      found = (await Deno.readTextFile(`${home}/token`)).trim();
    } catch {
      // No login, or no permission to see it: open models need none.
    }
  }
  if (!found) return undefined;
  if (!/^hf_[\w-]+$/.test(found)) {
    throw new LowbitError("USAGE", "is no token of the hub, which begin with hf_", {
      field: "HF_TOKEN",
    });
  }
  return found;
}

async function writeReference(cache: string, revision: string, commit: string): Promise<void> {
  if (/^[0-9a-f]{40}$/.test(revision)) return;
  try {
    const path = `${cache}/refs/${revision}`;
    await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(path, commit);
  } catch {
    // Only other programs need it.
  }
}

/** The name of a file in a snapshot, where links are allowed; the blob itself serves us. */
async function link(folder: string, path: string, key: string): Promise<void> {
  try {
    const up = "../".repeat(1 + path.split("/").length);
    await Deno.mkdir(`${folder}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.symlink(`${up}blobs/${key}`, `${folder}/${path}`);
  } catch {
    // There already, or not permitted.
  }
}
