"""Seconds of processor time of one product in native ggml, Q4_0 in its repacked form, one thread.

Usage: ggml.py N K M...   prints {"M": seconds, ...}. Needs llama-cpp-python, for its libraries.
"""
import ctypes as C, glob, importlib.util, json, os, sys, time

lib = os.path.join(os.path.dirname(importlib.util.find_spec("llama_cpp").origin), "lib")
load = lambda name: C.CDLL(glob.glob(f"{lib}/{name}*")[0], mode=C.RTLD_GLOBAL)
base, cpu = load("libggml-base.so"), load("libggml-cpu.so")

class Init(C.Structure):
    _fields_ = [("size", C.c_size_t), ("buffer", C.c_void_p), ("no_alloc", C.c_bool)]

P = C.c_void_p
def f(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function

init = f(base, "ggml_init", P, Init)
tensor2 = f(base, "ggml_new_tensor_2d", P, P, C.c_int, C.c_int64, C.c_int64)
mul_mat = f(base, "ggml_mul_mat", P, P, P, P)
graph = f(base, "ggml_new_graph", P, P)
expand = f(base, "ggml_build_forward_expand", None, P, P)
alloc = f(base, "ggml_backend_alloc_ctx_tensors_from_buft", P, P, P)
put = f(base, "ggml_backend_tensor_set", None, P, P, C.c_size_t, C.c_size_t)
compute = f(base, "ggml_backend_graph_compute", C.c_int, P, P)
backend = f(cpu, "ggml_backend_cpu_init", P)()
f(cpu, "ggml_backend_cpu_set_n_threads", None, P, C.c_int)(backend, 1)
plain = f(base, "ggml_backend_get_default_buffer_type", P, P)(backend)
repack = f(cpu, "_Z35ggml_backend_cpu_repack_buffer_typev", P)()

n, k = int(sys.argv[1]), int(sys.argv[2])
overhead = lambda: init(Init(1 << 20, None, True))
weights = overhead()
w = tensor2(weights, 2, k, n)  # 2 is Q4_0
assert alloc(weights, repack)
size = n * k // 32 * 18
data = (b"\x00\x28" + bytes(range(16))) * (size // 18)
put(w, data, 0, size)
result = {}
for m in map(int, sys.argv[3:]):
    inputs, work = overhead(), overhead()
    x = tensor2(inputs, 0, k, m)
    y = mul_mat(work, w, x)
    g = graph(work)
    expand(g, y)
    assert alloc(inputs, plain) and alloc(work, plain)
    values = (C.c_float * (k * m))(*([0.5] * (k * m)))
    put(x, values, 0, 4 * k * m)
    start, calls = time.process_time(), 0
    while calls == 0 or time.process_time() - start < 0.1:
        assert compute(backend, g) == 0
        calls += 1
    samples = []
    for _ in range(9):
        start = time.process_time()
        for _ in range(max(1, calls // 4)):
            compute(backend, g)
        samples.append((time.process_time() - start) / max(1, calls // 4))
    result[m] = sorted(samples)[4]
print(json.dumps(result))
