"""llama.cpp beside a model of ours, one thread: see bench/language.ts.

    python bench/peers/language.py quantize IN.gguf OUT.gguf     to Q4_0
    python bench/peers/language.py run MODEL.gguf PROMPT TOKENS  prints tokens a processor second

Needs llama-cpp-python.
"""

import json
import sys
import time

import llama_cpp


def quantize(source, out):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    parameters.allow_requantize = True
    status = llama_cpp.llama_model_quantize(source.encode(), out.encode(), parameters)
    assert status == 0, status


def run(path, prompt, tokens):
    model = llama_cpp.Llama(path, n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    ids = [1000 + 37 * i for i in range(int(prompt))]
    prompts, decodes = [], []
    for repeat in range(6):
        model.reset()
        model._ctx.kv_cache_clear()
        start = time.process_time()
        model.eval(ids)
        middle = time.process_time()
        for i in range(int(tokens)):
            model.eval([2000 + i])
        if repeat:  # the first warms up
            prompts.append(len(ids) / (middle - start))
            decodes.append(int(tokens) / (time.process_time() - middle))
    median = lambda values: sorted(values)[len(values) // 2]
    print(json.dumps({"prompt": median(prompts), "decode": median(decodes)}))


{"quantize": quantize, "run": run}[sys.argv[1]](*sys.argv[2:])
