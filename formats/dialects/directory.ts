/**
 * What dialects over a Hugging Face directory share: the tensors of its safetensors files by name,
 * the reading of parts of them, and the writing of config.json and the files beside it.
 *
 * @module
 */

import {
  type ByteSource,
  LowbitError,
  PLAIN_BYTES,
  type PlainType,
  type StoredTensor,
  type TargetArguments,
} from "../../spec/mod.ts";
import { byCodeUnits, sortedJson } from "../containers/json.ts";
import type { SafetensorsHeader } from "../containers/safetensors.ts";
import { elementCount, type PlainPlace, plainTensor } from "../containers/stored.ts";

/** One safetensors file of a directory. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** Its bytes. */
  source: ByteSource;
}

/** The tensors of the files of a directory, by name. */
export class DirectoryTensors {
  readonly #places = new Map<string, PlainPlace>();
  readonly #taken = new Set<string>();

  /** Takes the files in their order. Error `MALFORMED` if a tensor is in two files. */
  constructor(readonly files: readonly SafetensorsFile[]) {
    for (const file of files) {
      for (const place of file.tensors) {
        const other = this.#places.get(place.name);
        if (other) {
          throw new LowbitError("MALFORMED", `the tensor is in ${other.source.name} as well`, {
            file: file.source.name,
            field: place.name,
          });
        }
        this.#places.set(place.name, place);
      }
    }
  }

  /** The names in file order, without those that were taken. */
  names(): string[] {
    return [...this.#places.keys()].filter((name) => !this.#taken.has(name));
  }

  /** Whether there is such a tensor. */
  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** Where a tensor lies. */
  place(name: string): PlainPlace | undefined {
    return this.#places.get(name);
  }

  /** A plain tensor. */
  plain(name: string): StoredTensor {
    return plainTensor(this.#places.get(name)!);
  }

  /**
   * A part of a coded tensor, which is then no tensor of its own. Without `shape` any is fine.
   * Errors: `NOT_FOUND`, `MALFORMED` (type or shape), naming the part.
   */
  part(name: string, types: readonly PlainType[], shape?: readonly number[]): TensorPart {
    const place = this.#places.get(name);
    const file = place?.source.name ?? this.files[0]?.source.name;
    if (!place) throw new LowbitError("NOT_FOUND", "the tensor is missing", { file, field: name });
    if (!types.includes(place.type)) {
      throw new LowbitError("MALFORMED", `is ${place.type}, expected ${types.join(" or ")}`, {
        file,
        field: name,
      });
    }
    if (
      shape && (shape.length !== place.shape.length || shape.some((n, i) => n !== place.shape[i]))
    ) {
      throw new LowbitError("MALFORMED", `has the shape [${place.shape}], expected [${shape}]`, {
        file,
        field: name,
      });
    }
    this.#taken.add(name);
    return new TensorPart(place);
  }
}

/** A tensor that is a part of a coded one: bytes of rows. */
export class TensorPart {
  /** Bytes of one row of the first dimension. */
  readonly rowBytes: number;
  /** All bytes. */
  readonly bytes: number;

  /** A part at a place. */
  constructor(readonly place: PlainPlace) {
    const { shape, type } = place;
    this.rowBytes = elementCount(shape.slice(1)) * PLAIN_BYTES[type];
    this.bytes = elementCount(shape) * PLAIN_BYTES[type];
  }

  /** `length` bytes from `start`. */
  bytesAt(start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.place.source.read(this.place.offset + start, length);
  }

  /** The bytes of rows `start` to `end`; all of them if absent. */
  read(start = 0, end?: number): Promise<Uint8Array<ArrayBuffer>> {
    const { source, offset } = this.place;
    const length = end === undefined ? this.bytes : (end - start) * this.rowBytes;
    return source.read(offset + start * this.rowBytes, length);
  }
}

const encoder = new TextEncoder();

/** Writes config.json (sorted keys) and the sidecars, in the order of their names. */
export async function writeSettings(
  args: TargetArguments,
  config: Record<string, unknown>,
): Promise<void> {
  const files = new Map(args.sidecars);
  files.set("config.json", sortedJson(config, 2) + "\n");
  for (const [name, text] of [...files].sort(([a], [b]) => byCodeUnits(a, b))) {
    const sink = await args.output.file(name);
    await sink.write(encoder.encode(text));
    await sink.close();
  }
}

/** The settings of a model without those of the dialect that it was read from. */
export function withoutQuantization(config: Record<string, unknown>): Record<string, unknown> {
  const { quantization_config: _dropped, ...rest } = config;
  return rest;
}
