/**
 * The subset of Python's pickle that `torch.save` uses for tensors, as data: a list of opcodes and a
 * list of names. Nothing is imported, called or executed; whatever is not on the lists is refused.
 *
 * @module
 */

import { LowbitError } from "../../spec/errors.ts";

/** Limits of the reader. */
export const PICKLE_LIMITS = {
  /** Opcodes of a pickle. */
  steps: 20_000_000,
  /** Bytes of a pickle. */
  bytes: 256 * 2 ** 20,
  /** Bytes of a text. */
  text: 2 ** 20,
} as const;

/** A name of Python that a pickle refers to; it is never imported. */
export class PickleName {
  /** Module and name, joined by a dot. */
  constructor(readonly name: string) {}
}

/** What a pickle says to make by a call: the name, and its arguments. It is never called. */
export class PickleCall {
  /** A name and its arguments. */
  constructor(readonly name: string, readonly args: PickleValue[]) {}
}

/** A reference to something outside the pickle: for PyTorch, a storage. */
export class PickleReference {
  /** What identifies it. */
  constructor(readonly id: PickleValue) {}
}

/** A dictionary of a pickle: pairs in order, so that any key will do. */
export class PickleDict {
  /** The pairs. */
  readonly pairs: [PickleValue, PickleValue][] = [];
}

/** A tuple, list, or set of a pickle. */
export type PickleList = PickleValue[];

/** A value of a pickle. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleList
  | PickleDict
  | PickleName
  | PickleCall
  | PickleReference;

const MARK = Symbol("mark");
type Item = PickleValue | typeof MARK;

/** Names that may be referred to; calls of these alone may be described. */
export type AllowName = (name: string) => boolean;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads one pickle from `start`; `end` is the byte behind it.
 *
 * Errors: `UNSUPPORTED` for names and opcodes that are not on the lists, `TRUNCATED`, `MALFORMED`,
 * `LIMIT`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readPickle } from "./pickle.ts";
 * const bytes = Uint8Array.of(0x80, 2, 0x4b, 7, 0x4b, 8, 0x86, 0x2e); // protocol 2, 7, 8, a pair
 * assertEquals(readPickle(bytes, 0, () => false).value, [7, 8]);
 * ```
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  allow: AllowName,
): { value: PickleValue; end: number } {
  return new Machine(bytes, start, allow).run();
}

class Machine {
  readonly #view: DataView;
  readonly #stack: Item[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
    private readonly allow: AllowName,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): { value: PickleValue; end: number } {
    for (let steps = 0; steps < PICKLE_LIMITS.steps; steps++) {
      const code = this.bytes[this.take(1)];
      if (code === 0x2e) {
        const value = this.pop();
        if (this.#stack.length > 0) throw this.fail("leaves values behind its end");
        return { value, end: this.at };
      }
      this.step(code);
    }
    throw new LowbitError("LIMIT", `has more than ${PICKLE_LIMITS.steps} steps`);
  }

  private fail(problem: string): LowbitError {
    return new LowbitError("MALFORMED", `its pickle ${problem} (at ${this.at})`);
  }

  /** Skips `length` bytes and returns where they were. */
  private take(length: number): number {
    const at = this.at;
    if (at + length > this.bytes.length) {
      throw new LowbitError("TRUNCATED", `its pickle goes on after byte ${this.bytes.length}`);
    }
    this.at += length;
    return at;
  }

  private text(length: number): string {
    if (length > PICKLE_LIMITS.text) {
      throw new LowbitError("LIMIT", `its pickle has a text of ${length} bytes`);
    }
    const at = this.take(length);
    try {
      return decoder.decode(this.bytes.subarray(at, at + length));
    } catch (cause) {
      throw new LowbitError("MALFORMED", "its pickle has a text that is not UTF-8", { cause });
    }
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw new LowbitError("TRUNCATED", "its pickle ends inside a line");
    const text = this.text(end - this.at);
    this.at++;
    return text;
  }

  private u8 = () => this.#view.getUint8(this.take(1));
  private u16 = () => this.#view.getUint16(this.take(2), true);
  private u32 = () => this.#view.getUint32(this.take(4), true);
  private u64 = () => {
    const value = this.#view.getBigUint64(this.take(8), true);
    if (value > BigInt(PICKLE_LIMITS.bytes)) throw this.fail(`declares ${value} bytes`);
    return Number(value);
  };

  private long(length: number): number | bigint {
    if (length > 64) throw this.fail(`has an integer of ${length} bytes`);
    const at = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = value << 8n | BigInt(this.bytes[at + i]);
    if (length > 0 && this.bytes[at + length - 1] > 127) value -= 1n << BigInt(8 * length);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  private push(value: PickleValue): void {
    this.#stack.push(value);
  }

  private pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.fail("takes a value that is not there");
    return value;
  }

  private top(): PickleValue {
    const value = this.pop();
    this.push(value);
    return value;
  }

  /** The values above the last mark. */
  private above(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined || this.#stack[mark] !== MARK) throw this.fail("misses a mark");
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  private several(count: number): void {
    const values: PickleValue[] = [];
    for (let i = 0; i < count; i++) values.unshift(this.pop());
    this.push(values);
  }

  private put(index: number): void {
    this.#memo.set(index, this.top());
  }

  private get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.fail(`refers to ${index}, which it has not made`);
    this.push(value);
  }

  private global(module: PickleValue, name: PickleValue): void {
    if (typeof module !== "string" || typeof name !== "string") throw this.fail("misses a name");
    const full = `${module}.${name}`;
    if (!this.allow(full)) {
      throw new LowbitError("UNSUPPORTED", `its pickle asks for ${full.slice(0, 200)}`, {
        advice: "only tensors are read from pickles; convert the file to safetensors",
      });
    }
    this.push(new PickleName(full));
  }

  private reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickleName) || !Array.isArray(args)) {
      throw this.fail("calls something that is no name");
    }
    if (callee.name !== "collections.OrderedDict") {
      return this.push(new PickleCall(callee.name, args));
    }
    const dict = new PickleDict();
    const [pairs = []] = args;
    if (!Array.isArray(pairs)) throw this.fail("makes a dictionary of no pairs");
    for (const pair of pairs) {
      if (!Array.isArray(pair) || pair.length !== 2) throw this.fail("has a pair that is none");
      dict.pairs.push([pair[0], pair[1]]);
    }
    this.push(dict);
  }

  private set(pairs: PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PickleDict) || pairs.length % 2) throw this.fail("fills no dictionary");
    for (let i = 0; i < pairs.length; i += 2) dict.pairs.push([pairs[i], pairs[i + 1]]);
  }

  private append(values: PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.fail("fills no list");
    for (const value of values) list.push(value);
  }

  private dictOf(pairs: PickleValue[]): void {
    this.push(new PickleDict());
    this.set(pairs);
  }

  private step(code: number): void {
    const action = OPCODES.get(code);
    if (!action) {
      throw new LowbitError(
        "UNSUPPORTED",
        `its pickle has the opcode 0x${
          code.toString(16).padStart(2, "0")
        }, which tensors do not need`,
        { advice: "convert the file to safetensors" },
      );
    }
    action(this);
  }

  static actions(): ReadonlyMap<number, (m: Machine) => void> {
    return new Map<number, (m: Machine) => void>([
      [0x80, (m) => {
        const version = m.u8();
        if (version > 5) throw m.fail(`is of protocol ${version}`);
      }],
      [0x95, (m) => void m.take(8)], // FRAME
      [0x28, (m) => { // MARK
        m.#marks.push(m.#stack.length);
        m.#stack.push(MARK);
      }],
      [0x30, (m) => void m.pop()], // POP
      [0x4e, (m) => m.push(null)],
      [0x88, (m) => m.push(true)],
      [0x89, (m) => m.push(false)],
      [0x4a, (m) => m.push(m.#view.getInt32(m.take(4), true))],
      [0x4b, (m) => m.push(m.u8())],
      [0x4d, (m) => m.push(m.u16())],
      [0x8a, (m) => m.push(m.long(m.u8()))],
      [0x47, (m) => m.push(m.#view.getFloat64(m.take(8), false))],
      [0x58, (m) => m.push(m.text(m.u32()))], // BINUNICODE
      [0x8c, (m) => m.push(m.text(m.u8()))],
      [0x8d, (m) => m.push(m.text(m.u64()))],
      [0x54, (m) => m.push(m.text(m.u32()))], // BINSTRING of Python 2
      [0x55, (m) => m.push(m.text(m.u8()))],
      [0x7d, (m) => m.push(new PickleDict())],
      [0x5d, (m) => m.push([])],
      [0x29, (m) => m.push([])], // EMPTY_TUPLE
      [0x8f, (m) => m.push([])], // EMPTY_SET
      [0x74, (m) => m.push(m.above())], // TUPLE
      [0x6c, (m) => m.push(m.above())], // LIST
      [0x64, (m) => m.dictOf(m.above())],
      [0x85, (m) => m.several(1)],
      [0x86, (m) => m.several(2)],
      [0x87, (m) => m.several(3)],
      [0x61, (m) => {
        const value = m.pop();
        m.append([value]);
      }],
      [0x65, (m) => m.append(m.above())],
      [0x90, (m) => m.append(m.above())],
      [0x73, (m) => {
        const value = m.pop();
        const key = m.pop();
        m.set([key, value]);
      }],
      [0x75, (m) => m.set(m.above())],
      [0x71, (m) => m.put(m.u8())],
      [0x72, (m) => m.put(m.u32())],
      [0x94, (m) => m.put(m.#memo.size)],
      [0x68, (m) => m.get(m.u8())],
      [0x6a, (m) => m.get(m.u32())],
      [0x63, (m) => {
        const module = m.line();
        m.global(module, m.line());
      }],
      [0x93, (m) => {
        const name = m.pop();
        m.global(m.pop(), name);
      }],
      [0x52, (m) => m.reduce()],
      [0x51, (m) => m.push(new PickleReference(m.pop()))], // BINPERSID
      [0x62, (m) => void m.pop()], // BUILD: attributes, which are left out
    ]);
  }
}

/** What each allowed opcode does; all others are refused. */
const OPCODES = Machine.actions();
