# SPDX-License-Identifier: Apache-2.0
"""Starts llama.cpp's own HTTP server on a model file, through the bindings of the package xllamacpp.

    model_server.py MODEL [PORT]

Prints "listening URL" when it is ready and serves until its standard input ends, so that it never outlives the tests.
"""
import os
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {'tiny'}
params.hostnames = ['127.0.0.1']
params.port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
params.n_ctx = 65536  # for both slots together: an answer of tens of thousands of tokens can be left in mid-stream
params.n_parallel = 2
params.cpuparams.n_threads = 1
params.endpoint_slots = True  # /slots says whether it still works for someone who has left
params.embedding = True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.warmup = False
server = xllamacpp.Server(params)
print(f'listening {server.listening_address}', flush=True)
sys.stdin.read()
os._exit(0)  # its threads have nothing to save
