/**
 * Values on their way between a plugin in a sandbox and its host. Numbers, texts, arrays and maps
 * are cloned; a function becomes a number that the other side can call.
 *
 * @module
 */

/** Stands for a function of the side that sent it. */
interface Reference {
  /** Whose function it is. */
  owner: string;
  /** Its number. */
  fn: number;
}

/** What a message carries: what is asked, or what came of it. */
export type Message =
  | { kind: "call"; fn: number; args: unknown[] }
  | { kind: "value"; value: unknown }
  | { kind: "error"; code?: string; problem: string; field?: string; advice?: string };

const KEY = "$lowbit";

/** Turns values into what a message can carry, and back. */
export class Wire {
  readonly #functions: ((...args: unknown[]) => unknown)[] = [];
  readonly #numbers = new Map<unknown, number>();
  readonly #foreign = new WeakMap<object, Reference>();
  readonly #call: (fn: number, args: unknown[]) => unknown;
  readonly #upload?: (array: Float32Array) => unknown;

  /**
   * The wire of one side. `call` calls a function of the other side; `upload` makes a kernel buffer
   * of an array, on the side of the plugin.
   */
  constructor(
    readonly owner: string,
    call: (fn: number, args: unknown[]) => unknown,
    upload?: (array: Float32Array) => unknown,
  ) {
    this.#call = call;
    this.#upload = upload;
  }

  /** Calls a function of this side. */
  invoke(fn: number, args: unknown[]): unknown {
    const found = this.#functions[fn];
    if (!found) throw new Error(`there is no function ${fn}`);
    return found(...args.map((arg) => this.decode(arg)));
  }

  /** A value as a message carries it. */
  encode(value: unknown): unknown {
    if (typeof value === "function") return { [KEY]: this.#reference(value as never) };
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
    if (value instanceof Map) {
      return new Map([...value].map(([key, item]) => [key, this.encode(item)]));
    }
    if (Array.isArray(value)) return value.map((item) => this.encode(item));
    const { array } = value as { array?: unknown };
    if (ArrayBuffer.isView(array)) return { [KEY]: { buffer: (array as Float32Array).slice() } };
    const encoded: Record<string, unknown> = {};
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      // What is computed when it is asked for stays so.
      encoded[key] = property.get
        ? { [KEY]: { get: this.#reference(() => (value as Record<string, unknown>)[key]) } }
        : this.encode(property.value);
    }
    return encoded;
  }

  /** What a message carried. */
  decode(value: unknown): unknown {
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
    if (value instanceof Map) {
      return new Map([...value].map(([key, item]) => [key, this.decode(item)]));
    }
    if (Array.isArray(value)) return value.map((item) => this.decode(item));
    const special = (value as Record<string, unknown>)[KEY];
    if (special !== undefined) return this.#special(special as never);
    const decoded = {};
    for (const [key, item] of Object.entries(value)) {
      const get = (item as { [KEY]?: { get?: Reference } } | null)?.[KEY]?.get;
      const property = get
        ? { get: this.#function(get) as () => unknown }
        : { value: this.decode(item), writable: true };
      Object.defineProperty(decoded, key, { ...property, enumerable: true, configurable: true });
    }
    return decoded;
  }

  #special(special: Reference | { buffer: Float32Array }): unknown {
    if ("buffer" in special) return this.#upload?.(special.buffer) ?? { array: special.buffer };
    return this.#function(special);
  }

  #reference(value: (...args: unknown[]) => unknown): Reference {
    const foreign = this.#foreign.get(value);
    if (foreign) return foreign;
    let fn = this.#numbers.get(value);
    if (fn === undefined) {
      fn = this.#functions.push(value) - 1;
      this.#numbers.set(value, fn);
    }
    return { owner: this.owner, fn };
  }

  #function(reference: Reference): (...args: unknown[]) => unknown {
    const { owner, fn } = reference;
    if (owner === this.owner) return this.#functions[fn];
    const call = (...args: unknown[]) =>
      this.decode(this.#call(fn, this.encode(args) as unknown[]));
    this.#foreign.set(call, reference);
    return call;
  }
}
