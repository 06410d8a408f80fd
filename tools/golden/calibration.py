#!/usr/bin/env python3
"""Makes tests/golden/calibration: documents as parquet files that pyarrow writes, and chats as
transformers writes them out by templates of three kinds.

usage: calibration.py OUTDIR        (needs pyarrow, transformers, jinja2)
"""

import json
import os
import sys

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

TEXTS = [f"document {i}: " + "äöü plain words and numbers %d " % (i * 37 % 11) * (i % 4) for i in range(40)]
CHATS = [
    [{"role": "system", "content": "You are brief."}, {"role": "user", "content": f"Question {i}?"},
     {"role": "assistant", "content": "  Yes.\n"}]
    for i in range(3)
]
TEMPLATES = {
    "chatml": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "headers": "{{- bos_token }}{%- for message in messages %}{{- '<|start|>' + message['role'] + "
    "'<|end|>\n\n' + message['content'] | trim + eos_token }}{%- endfor %}",
    "turns": "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}"
    "{%- set rest = messages[1:] -%}{%- else -%}{%- set system = '' -%}{%- set rest = messages -%}"
    "{%- endif -%}{%- for m in rest -%}{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Roles must alternate') }}{%- endif -%}{%- if m['role'] == 'user' -%}"
    "[INST] {{ system ~ ' ' if loop.first else '' }}{{ m['content'] }} [/INST]{%- else -%}"
    "{{ m['content'] | trim }}{{ eos_token }}{%- endif -%}{%- endfor -%}",
}


def main(out):
    os.makedirs(out, exist_ok=True)
    messages = pa.array([CHATS[i % 3] for i in range(40)])
    table = pa.table({"id": list(range(40)), "text": TEXTS, "messages": messages})
    for name, options in {
        "snappy": dict(compression="snappy"),
        "zstd": dict(compression="zstd", data_page_version="2.0"),
        "gzip": dict(compression="gzip", use_dictionary=False),
        "plain": dict(compression="none"),
    }.items():
        pq.write_table(table, f"{out}/{name}.parquet", row_group_size=16, **options)
    rendered = {}
    for name, template in TEMPLATES.items():
        texts, _ = render_jinja_template(CHATS, chat_template=template, bos_token="<s>", eos_token="</s>")
        rendered[name] = dict(template=template, texts=texts)
    versions = dict(pyarrow=pa.__version__, transformers=transformers.__version__, jinja2=jinja2.__version__)
    document = dict(versions=versions, texts=TEXTS, chats=CHATS, rendered=rendered)
    with open(f"{out}/expected.json", "w") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        file.write("\n")


main(sys.argv[1])
