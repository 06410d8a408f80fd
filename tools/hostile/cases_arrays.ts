/**
 * Cases of arrays of NumPy, archives, pickles and ONNX.
 *
 * @module
 */

import { bytes, field, le, type Member, nheader, npy, onnx, otensor, zip } from "./bytes.ts";
import { type Case, one } from "./case.ts";

const M = "error[MALFORMED]", T = "error[TRUNCATED]", L = "error[LIMIT]", U = "error[UNSUPPORTED]";

const NPY = npy(nheader("<f4", "(1,)"), 4);
const npz = (...members: Member[]) => zip(members);
const member = (more: Partial<Member> = {}): Member => ({ name: "x.npy", data: NPY, ...more });

/** A pickle of protocol 2. */
const pickle = (...parts: Parameters<typeof bytes>) => bytes(0x80, 2, ...parts, ".");
const text = (value: string) => bytes("X", le(value.length, 4), value);
const global = (module: string, name: string) => `c${module}\n${name}\n`;
/** A tensor of one storage `0` with two elements of f32. */
const tensor = (
  { offset = 0, size = 2, stride = 1, key = "0", elements = 2 }: {
    offset?: number;
    size?: number;
    stride?: number;
    key?: string;
    elements?: number;
  } = {},
) =>
  bytes(
    global("torch._utils", "_rebuild_tensor_v2"),
    ...["((", text("storage"), global("torch", "FloatStorage"), text(key), text("cpu")],
    ...["J", le(elements, 4), "tQ", "J", le(offset, 4), "J", le(size, 4), 0x85],
    ...["J", le(stride, 4), 0x85, 0x89, global("collections", "OrderedDict"), ")RtR"],
  );
const dict = (...pairs: Uint8Array[]) => bytes("}(", ...pairs, "u");
const torch = (pkl: Uint8Array, data: Member[] = [{ name: "a/data/0", data: new Uint8Array(8) }]) =>
  zip([{ name: "a/data.pkl", data: pkl }, ...data]);
const state = (value: Uint8Array) => pickle(dict(text("x"), value));

/** The cases. */
export function arrays(): Case[] {
  const np = (name: string, content: Uint8Array, expect: string) =>
    one("npy", "x.npy", name, content, expect);
  const nz = (name: string, content: Uint8Array, expect: string) =>
    one("npz", "x.npz", name, content, expect);
  const pt = (name: string, content: Uint8Array, expect: string) =>
    one("pickle", "x.pt", name, content, expect);
  const ox = (name: string, content: Uint8Array, expect: string, more = {}) => ({
    ...one("onnx", "x.onnx", name, content, expect),
    ...more,
  });
  const raw = (size: number) => field(9, new Uint8Array(size));
  const external = (location: string, more: Uint8Array[] = []) =>
    onnx(
      otensor(
        "a",
        1,
        [1],
        field(13, bytes(field(1, "location"), field(2, location))),
        ...more,
        field(14, 1),
      ),
    );
  const call = (module: string, name: string) => pickle(global(module, name), ")R");
  return [
    np("a magic alone", bytes(0x93, "NUMPY"), T),
    np("version 9", npy(nheader("<f4", "(1,)"), 4, 9), U),
    np("a header longer than the file", bytes(0x93, "NUMPY", 1, 0, le(999, 2), "{}"), T),
    np("a header of 2 GiB", bytes(0x93, "NUMPY", 2, 0, le(2 ** 31, 4), "{}"), L),
    np("code in the place of a header", npy("__import__('os').system('x')\n"), M),
    np(
      "a key twice",
      npy("{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }\n", 4),
      "occurs twice",
    ),
    np("a key that is missing", npy("{'descr': '<f4', 'shape': (1,), }\n", 4), M),
    np(
      "another key",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}\n", 4),
      M,
    ),
    np("a negative dimension", npy(nheader("<f4", "(-1,)"), 4), M),
    np("a fractional dimension", npy(nheader("<f4", "(1.5,)"), 4), M),
    np("a shape without commas", npy(nheader("<f4", "(1 2)"), 8), M),
    np(
      "a product that overflows",
      npy(nheader("<f4", "(9007199254740991, 9007199254740991)"), 4),
      L,
    ),
    np("data that are cut off", npy(nheader("<f4", "(9,)"), 4), T),
    np("bytes behind the data", npy(nheader("<f4", "(1,)"), 5), "behind its 4 bytes"),
    np("objects", npy(nheader("|O", "(1,)"), 8), "objects"),
    np("complex numbers", npy(nheader("<c8", "(1,)"), 8), U),
    np("texts", npy(nheader("<U3", "(1,)"), 12), U),
    np("unnamed bytes", npy(nheader("|V2", "(1,)"), 2), "bfloat16"),
    np(
      "structures",
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", 4),
      "structures",
    ),
    np("65 dimensions", npy(nheader("<f4", `(${"1, ".repeat(65)})`), 4), L),
    np("a header with no end of its braces", npy("{'descr': '<f4'".padEnd(4000, "(")), M),
    np("version 2", npy(nheader("<f4", "(1,)"), 4, 2), "x[1]=0"),
    np("version 3", npy(nheader("<f4", "(1,)"), 4, 3), "x[1]=0"),
    np("a scalar", npy(nheader("<f4", "()"), 4), "x[]=0"),
    np("an empty array", npy(nheader("<f4", "(0, 3)")), "x[0,3]"),
    np(
      "keys in another order",
      npy("{'shape': (1,), 'fortran_order': False, 'descr': '<f4'}\n", 4),
      "x[1]=0",
    ),
    np("big-endian", npy(nheader(">i8", "(2,)"), 16), "x[2]=0"),
    np("Fortran order", npy(nheader("<f4", "(2, 3)", "True"), 24), "x[2,3]=0"),
    np("whole numbers of Python 2", npy(nheader("<f4", "(2L, 3L)"), 24), "x[2,3]=0"),
    nz("no directory", bytes("PK\x03\x04", new Uint8Array(40)), T),
    nz("an archive cut off", npz(member()).slice(0, -5), T),
    nz("a member twice", npz(member(), member()), "occurs twice"),
    nz("two members in one place", npz(member(), member({ name: "y.npy", offset: 0 })), M),
    nz("a member behind the end", npz(member({ offset: 9999 })), M),
    nz("a member larger than the archive", npz(member({ size: 9999, packed: 9999 })), M),
    nz("a stored member of two sizes", npz(member({ size: 1 })), "is stored, but"),
    nz("more members than there are", zip([member()], { count: 9 }), M),
    nz("a directory behind the end", zip([member()], { offset: 99_999 }), M),
    nz("an encrypted member", npz(member({ flags: 1 })), "encrypted"),
    nz("another compression", npz(member({ method: 12 })), "method 12"),
    nz("a deflated bomb", npz(member({ method: 8, size: 2 ** 31 - 1 })), L),
    nz("deflated data that are none", npz(member({ method: 8, size: 100 })), M),
    nz("a member that is no array", npz(member({ name: "x.txt" })), "not an array"),
    nz("no members", npz(), ""),
    nz("a name of a path", npz(member({ name: "../x.npy" })), "../x[1]=0"),
    nz("__proto__ as a name", npz(member({ name: "__proto__.npy" })), "__proto__[1]=0"),
    pt("a call of os.system", torch(call("os", "system")), "asks for os.system"),
    pt("a call of eval", torch(call("builtins", "eval")), "asks for builtins.eval"),
    pt("a call of a class of torch", torch(call("torch.jit", "load")), "asks for torch.jit.load"),
    pt("a name by the stack", torch(pickle(text("posix"), text("system"), 0x93)), "posix.system"),
    pt("an extension code", torch(pickle(0x82, 1)), "opcode 0x82"),
    pt("a new object", torch(pickle(global("torch", "Size"), ")", 0x81)), "opcode 0x81"),
    pt("an INST", torch(pickle("(ios\nsystem\n")), "opcode 0x69"),
    pt("protocol 9", torch(bytes(0x80, 9, "N.")), M),
    pt("no end", torch(bytes(0x80, 2, "N")), T),
    pt("an empty stack", torch(pickle()), M),
    pt("two values at the end", torch(pickle("NN")), M),
    pt("a mark without an end", torch(pickle("t")), M),
    pt("a memo that was not made", torch(pickle("h", 7)), M),
    pt("a text of 4 GB", torch(pickle("X", le(2 ** 32 - 1, 4))), L),
    pt("a text that is not UTF-8", torch(pickle("X", le(1, 4), 0xff)), "UTF-8"),
    pt("an integer of 255 bytes", torch(pickle(0x8a, 255, new Uint8Array(255))), M),
    pt("a list in itself", torch(pickle("]q", 0, "h", 0, "a")), L),
    pt(
      "a list of lists, doubled 40 times",
      torch(
        pickle("]q", 0, ...Array(40).fill(bytes("0](h", 0, "h", 0, "eq", 0))),
      ),
      L,
    ),
    pt("a view behind its storage", torch(state(tensor({ size: 3 }))), "needs 3 elements"),
    pt("an offset behind its storage", torch(state(tensor({ offset: 9 }))), M),
    pt("a stride behind its storage", torch(state(tensor({ stride: 9 }))), M),
    pt("a negative stride", torch(state(tensor({ stride: -1 }))), M),
    pt("a negative size", torch(state(tensor({ size: -1 }))), M),
    pt("a storage that is missing", torch(state(tensor({ key: "9" }))), "storage 9 is missing"),
    pt("a storage outside the archive", torch(state(tensor({ key: "../x" }))), "without a storage"),
    pt("a storage that is cut off", torch(state(tensor({ elements: 99 }))), T),
    pt(
      "a view of one element, 2^31 times",
      torch(state(tensor({ size: 2 ** 31 - 1, stride: 0 }))),
      L,
    ),
    pt(
      "a tensor twice",
      torch(pickle(dict(text("x"), tensor(), text("x"), tensor()))),
      "occurs twice",
    ),
    pt("no data.pkl", zip([{ name: "a/b", data: new Uint8Array(1) }]), "data.pkl"),
    pt("a pickle of another program", pickle("N"), "none of torch.save"),
    pt("a tensor", torch(state(tensor())), "x[2]=0"),
    pt("a tensor alone", torch(pickle(tensor())), "tensor[2]=0"),
    pt("a repeated element", torch(state(tensor({ size: 7, stride: 0 }))), "x[7]=0"),
    pt("no tensors", torch(pickle("}")), ""),
    pt("numbers as keys", torch(pickle(dict(bytes("K", 7), tensor()))), "7[2]=0"),
    pt("__proto__ as a name", torch(pickle(dict(text("__proto__"), tensor()))), "__proto__[2]=0"),
    pt(
      "data.pkl without a folder",
      zip([{ name: "data.pkl", data: state(tensor()) }, {
        name: "data/0",
        data: new Uint8Array(8),
      }]),
      "x[2]=0",
    ),
    pt(
      "two names of one tensor",
      torch(pickle(dict(text("x"), tensor(), bytes("q", 0), text("y"), bytes("h", 0)))),
      "y[2]=0",
    ),
    ox("empty", new Uint8Array(0), "no graph"),
    ox("text", bytes("hello, this is no model"), M),
    ox("a field behind the end", bytes(varint58()), T),
    ox("a number that does not end", bytes(new Uint8Array(12).fill(255)), M),
    ox("the field 0", bytes(0, 1), "field 0"),
    ox("a group", bytes(0x0b), "wire type 3"),
    ox("two graphs", bytes(field(7, ""), field(7, "")), "two graphs"),
    ox("data of another size", onnx(otensor("a", 1, [2], raw(4))), "has 4 bytes"),
    ox("no data", onnx(otensor("a", 1, [2])), "no data"),
    ox("a product that overflows", onnx(otensor("a", 1, [2 ** 40, 2 ** 40], raw(4))), L),
    ox("seventeen dimensions", onnx(otensor("a", 1, Array(17).fill(1), raw(4))), L),
    ox(
      "an initializer twice",
      onnx(otensor("a", 1, [1], raw(4)), otensor("a", 1, [1], raw(4))),
      "occurs twice",
    ),
    ox("a type of texts", onnx(otensor("a", 8, [1])), "ONNX type 8"),
    ox("a name that is not UTF-8", onnx(bytes(field(2, 1), field(8, bytes(0xff)))), "UTF-8"),
    ...["../x", "/etc/passwd", "a/b", "a\\b", "C:x", "..", "", "%2e%2e%2fx", "x\u0000"].map((
      place,
    ) => ox(`external data in ${JSON.stringify(place)}`, external(place), "beside the model")),
    ox("external data that are missing", external("x.bin"), "error[NOT_FOUND]"),
    ox("no initializers", onnx(), ""),
    ox("a scalar", onnx(otensor("a", 1, [], raw(4))), "a[]=0"),
    ox("an empty tensor", onnx(otensor("a", 1, [0, 2])), "a[0,2]"),
    ox(
      "unknown fields",
      bytes(field(99, 7), onnx(otensor("a", 1, [1], raw(4), field(50, "x")))),
      "a[1]=0",
    ),
    ox("__proto__ as a name", onnx(otensor("__proto__", 1, [1], raw(4))), "__proto__[1]=0"),
  ];
}

/** A field of 2^58 bytes. */
function varint58(): number[] {
  return [0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04];
}
