#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for relais where the harness itself is tested: prints addresses, answers, logs, reloads, ends.

What it does wrong is chosen by FAKE: mute (prints no address), die (ends at once), report (a sanitizer's report on
standard error), status (ends with 3), deaf (ignores SIGTERM)."""
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAKE = os.environ.get('FAKE', '')
reloads = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        body = {'/health': 'OK\n', '/metrics': f'# HELP x y\nreloads {reloads}\n', '/status': '{"up": true}',
                '/sim/ledger': '{"served": 1}', '/env': json.dumps(dict(os.environ))}.get(self.path, '{}').encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == '/log':
            with open(config['log']['access'], 'a', encoding='utf-8') as file:
                file.write('{"status": 200}\n')

    def log_message(self, *_):
        pass


def listen(kind, address):
    host, _, port = address.rpartition(':')
    server = ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if FAKE != 'mute':
        print(f'listening {kind} http://{host}:{server.server_address[1]}', flush=True)


def on_reload(*_):
    global reloads
    reloads += 1


ended = threading.Event()
signal.signal(signal.SIGTERM, (lambda *_: None) if FAKE == 'deaf' else (lambda *_: ended.set()))
signal.signal(signal.SIGHUP, on_reload)
if FAKE == 'die':
    print('no such option', file=sys.stderr)
    sys.exit(2)
if sys.argv[1] == 'serve':
    with open(sys.argv[sys.argv.index('--config') + 1], encoding='utf-8') as config_file:
        config = json.load(config_file)
    listen('data', config['server']['listen'])
    listen('admin', config['server']['admin'])
else:
    listen('sim', sys.argv[sys.argv.index('--listen') + 1])
ended.wait()
if FAKE == 'report':
    print('==1==ERROR: AddressSanitizer: heap-use-after-free', file=sys.stderr)
sys.exit(3 if FAKE == 'status' else 0)
