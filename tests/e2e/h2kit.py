# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 from the client's side: H2Client speaks it properly (python3-h2), Raw sends any frames and tells what came back.
Every wait is bounded."""
import json
import socket
import struct
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from harness import WAIT_S

PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CALM = 5, 6, 7, 8, 9, 11
CHAT = '/v1/chat/completions'


class Stream:
    """What has come for one request."""

    def __init__(self, number):
        self.id = number
        self.headers, self.informational, self.pieces = {}, [], []
        self.ended, self.reset = False, None

    @property
    def status(self):
        return int(self.headers.get(':status', 0))

    @property
    def body(self):
        return b''.join(self.pieces)

    @property
    def over(self):
        return self.ended or self.reset is not None

    def json(self):
        return json.loads(self.body)


class H2Client:
    """A client of one connection. Credit is given back as data comes, unless credit=False."""

    def __init__(self, address, within_s=WAIT_S, credit=True, window=None, tls=None, receive_buffer=None):
        self.within_s, self.credit = within_s, credit
        self.sock = socket.socket(socket.AF_INET6 if ':' in address[0] else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(within_s)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname='localhost')
            assert self.sock.selected_alpn_protocol() == 'h2'
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding='utf-8'))
        self.streams, self.goaways, self.closed, self.pongs = {}, [], False, 0
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def open(self, method, path, headers=(), end=True):
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = stream = Stream(number)
        head = [(':method', method), (':path', path), (':scheme', 'http'), (':authority', 'localhost'), *headers]
        self.h2.send_headers(number, head, end_stream=end)
        self.flush()
        return stream

    def data(self, stream, data, end=False):
        """As the windows allow."""
        deadline = time.monotonic() + self.within_s
        while data:
            room = min(self.h2.local_flow_control_window(stream.id), self.h2.max_outbound_frame_size, len(data))
            if room <= 0:
                self.pump(deadline)
                continue
            self.h2.send_data(stream.id, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream.id)
            self.flush()

    def request(self, method, path, body=None, headers=()):
        """Sends a request and gives its stream back at once."""
        if body is None:
            return self.open(method, path, headers)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        stream = self.open(method, path, [('content-type', 'application/json'), ('content-length', str(len(body))), *headers],
                           end=False)
        self.data(stream, body, end=True)
        return stream

    def chat(self, text='hi', model='assistant', headers=(), **members):
        return self.request('POST', CHAT, {'model': model, 'messages': [{'role': 'user', 'content': text}], **members}, headers)

    def reset(self, stream, code=CANCEL):
        self.h2.reset_stream(stream.id, code)
        self.flush()

    def pump(self, deadline):
        """One read; what came is noted."""
        left = deadline - time.monotonic()
        assert left > 0, f'time ran out: {[(s.id, s.headers, s.reset, len(s.body)) for s in self.streams.values() if not s.over]}'
        self.sock.settimeout(left)
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            got = b''
        if not got:
            self.closed = True
            return
        for event in self.h2.receive_data(got):
            self.note(event)
        self.flush()

    def note(self, event):
        stream = self.streams.get(getattr(event, 'stream_id', None))
        if isinstance(event, h2.events.ResponseReceived):
            stream.headers = dict(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.informational.append(dict(event.headers)[':status'])
        elif isinstance(event, h2.events.DataReceived):
            stream.pieces.append(event.data)
            if self.credit:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((int(event.error_code), event.last_stream_id))
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1

    def until(self, check, within_s=None):
        deadline = time.monotonic() + (within_s or self.within_s)
        while not check() and not self.closed:
            self.pump(deadline)
        assert check(), f'closed before that; GOAWAYs {self.goaways}'

    def finish(self, *streams, within_s=None):
        self.until(lambda: all(s.over for s in streams), within_s)
        return streams[0] if len(streams) == 1 else streams

    def wait_closed(self, within_s=None):
        deadline = time.monotonic() + (within_s or self.within_s)
        while not self.closed:
            self.pump(deadline)


def frame(kind, flags=0, stream=0, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload


class Raw:
    """A connection that sends whatever it is told, with an HPACK coder at hand, and reads frames."""

    def __init__(self, address, settings=b'', within_s=WAIT_S, preface=PREFACE):
        self.sock = socket.create_connection(address, timeout=within_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.within_s, self.encoder, self.decoder = within_s, hpack.Encoder(), hpack.Decoder()
        self.frames, self.statuses, self.rest, self.closed = [], {}, b'', False
        self.acknowledges = True
        self.send(preface + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """False when the server has closed already."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def head(self, *headers, method='POST', path=CHAT, scheme='http', authority='localhost'):
        pseudo = [(':method', method), (':scheme', scheme), (':path', path), (':authority', authority)]
        return self.encoder.encode([(n, v) for n, v in pseudo if v is not None] + list(headers), huffman=False)

    def headers(self, stream, *headers, flags=END_HEADERS | END_STREAM, **pseudo):
        return self.send(frame(HEADERS, flags, stream, self.head(*headers, **pseudo)))

    def read(self, until=None, within_s=None):
        """Frames until one fits `until`, or the end of the connection; PING and SETTINGS are acknowledged on the way."""
        deadline = time.monotonic() + (within_s or self.within_s)
        while not self.closed:
            while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], 'big'):
                size = int.from_bytes(self.rest[:3], 'big')
                got = (self.rest[3], self.rest[4], int.from_bytes(self.rest[5:9], 'big'), self.rest[9:9 + size])
                self.rest = self.rest[9 + size:]
                self.frames.append(got)
                if got[0] == HEADERS:  # each must go through the decoder, whoever looks at it
                    self.statuses[got[2]] = int(dict(self.decoder.decode(got[3]))[':status'])
                if got[0] == SETTINGS and not got[1] & ACK and self.acknowledges:
                    self.send(frame(SETTINGS, ACK))
                if until and until(*got):
                    return got
            left = deadline - time.monotonic()
            assert left > 0, f'time ran out after {[(f[:3], f[3][:60]) for f in self.frames[-10:]]}'
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b''
            self.closed = not data
            self.rest += data
        return None

    def first(self, kind):
        """The payload of the first frame of that kind, read already or still to come."""
        for got in self.frames:
            if got[0] == kind:
                return got[3]
        return self.read(lambda k, *_: k == kind)[3]

    def goaway(self, within_s=None):
        """The error code of the GOAWAY with which the server ends the connection; None: it closed without one."""
        got = self.read(lambda kind, *_: kind == GOAWAY, within_s)
        return int.from_bytes(got[3][4:8], 'big') if got else None

    def outcome(self, stream, within_s=None):
        """How a stream ended: ('reset', code), ('answer', status) at END_STREAM, ('goaway', code) or ('closed',)."""
        while True:
            got = self.read(lambda kind, flags, number, payload: number == stream or kind == GOAWAY, within_s)
            if not got:
                return ('closed',)
            kind, flags, number, payload = got
            if kind == GOAWAY:
                return ('goaway', int.from_bytes(payload[4:8], 'big'))
            if kind == RST_STREAM:
                return ('reset', int.from_bytes(payload, 'big'))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return ('answer', self.statuses.get(stream))

    def alive(self):
        """It still answers a PING."""
        self.send(frame(PING, 0, 0, b'stillon?'))
        return self.read(lambda kind, flags, number, payload: kind == PING and payload == b'stillon?') is not None
