# SPDX-License-Identifier: Apache-2.0
"""A provider that speaks HTTP/2, by python3-h2, which shares no code with relais.

    peer = h2peer.Server(play)        # play(stream) runs in a thread of its own for each whole request
    stream.respond(200, b'...')       # or head(), data(), end(), reset(); connection.goaway() ...

Everything that a test may want to know is kept: connections, their streams in order, what came when.
"""
import json
import socket
import struct
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

import harness


class Stream:
    """One request, and the answer to it."""

    def __init__(self, connection, number, headers):
        self.connection, self.id = connection, number
        self.fields = [(n.decode('latin-1'), v.decode('latin-1')) for n, v in headers]
        self.headers = dict(self.fields)
        self.body = b''
        self.at = time.monotonic()
        self.left = threading.Event()  # the client has reset it, or the connection has gone
        self.left_at = None
        self.reset_code = None

    def leave(self, code=None):
        if not self.left.is_set():
            self.left_at, self.reset_code = time.monotonic(), code
            self.left.set()

    def head(self, status=200, headers=(('content-type', 'application/json'),), end=False):
        self.connection.do(lambda c: c.send_headers(self.id, [(':status', str(status)), *headers], end_stream=end))

    def data(self, piece, end=False, within_s=harness.WAIT_S):
        """Sends as credit allows; False when it has not come in time, or the stream has gone."""
        until = time.monotonic() + within_s
        connection = self.connection
        with connection.changed:
            while piece or end:
                if self.left.is_set():
                    return False
                room = min(connection.h2.local_flow_control_window(self.id), connection.h2.max_outbound_frame_size)
                if piece and room <= 0:
                    if not connection.changed.wait(max(0.0, until - time.monotonic())) \
                            and time.monotonic() >= until:
                        return False
                    continue
                part, piece = piece[:room], piece[room:]
                connection.h2.send_data(self.id, part, end_stream=end and not piece)
                connection.flush()
                if not piece:
                    return True
        return True

    def end(self):
        self.connection.do(lambda c: c.end_stream(self.id))

    def trailers(self, fields):
        self.connection.do(lambda c: c.send_headers(self.id, fields, end_stream=True))

    def reset(self, code=h2.errors.ErrorCodes.INTERNAL_ERROR):
        self.connection.do(lambda c: c.reset_stream(self.id, code))

    def respond(self, status=200, body=b'', headers=(('content-type', 'application/json'),)):
        self.head(status, headers)
        return self.data(body, end=True)

    def sse(self, events, gap_s=0.0):
        """The events as a stream, one DATA frame each; without its end."""
        self.head(200, (('content-type', 'text/event-stream'),))
        for event in events:
            if not self.data(event):
                return False
            if gap_s:
                time.sleep(gap_s)
        return True


class Connection:
    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.changed = threading.Condition(threading.RLock())
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.streams = {}
        self.order = []
        self.ended_at = self.ended_by = None
        self.ended = threading.Event()
        self.most_open = 0

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def do(self, action):
        """Something to be said; silent when the connection or the stream has gone."""
        with self.changed:
            try:
                action(self.h2)
                self.flush()
            except (h2.exceptions.ProtocolError, OSError):
                pass

    def raw(self, data):
        with self.changed:
            self.sock.sendall(data)

    def goaway(self, last, code=0):
        """By hand, since h2 would take the connection for closed. Streams up to `last` go on."""
        self.raw(struct.pack('>BHBBI', 0, 8, 7, 0, 0) + struct.pack('>II', last, code))

    def settings(self, **values):
        codes = h2.settings.SettingCodes
        self.do(lambda c: c.update_settings({codes[k]: v for k, v in values.items()}))

    def cut(self, reset=False):
        with self.changed:
            try:
                if reset:  # by close(), once the reader is awake
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                self.sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass

    def run(self):
        with self.changed:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=self.server.settings)
            self.h2.initiate_connection()
            self.flush()
        try:
            while True:
                got = self.sock.recv(65536)
                if not got:
                    break
                with self.changed:
                    for event in self.h2.receive_data(got):
                        self.on_event(event)
                    self.flush()
                    self.changed.notify_all()
        finally:
            self.ended_at = time.monotonic()
            self.ended.set()
            with self.changed:
                for stream in self.order:
                    stream.leave()
                self.changed.notify_all()

    def on_event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            stream = Stream(self, event.stream_id, event.headers)
            self.streams[stream.id] = stream
            self.order.append(stream)
            if self.server.on_request:
                self.server.on_request(stream)
            self.most_open = max(self.most_open, self.h2.open_inbound_streams)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].body += event.data
            if self.server.takes_bodies:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            threading.Thread(target=self.server.play_one, args=(self.streams[event.stream_id],), daemon=True).start()
        elif isinstance(event, h2.events.StreamReset):
            if event.stream_id in self.streams and event.remote_reset:
                self.streams[event.stream_id].leave(event.error_code)


class Server:
    """tls: an ssl.SSLContext, which has to offer h2 (alpn). settings: of the first SETTINGS frame, by name. path: of a
    Unix socket to listen on."""

    def __init__(self, play, tls=None, settings=None, takes_bodies=True, on_connection=None, path=None):
        codes = h2.settings.SettingCodes
        self.play, self.tls, self.takes_bodies = play, tls, takes_bodies
        self.settings = {codes.MAX_CONCURRENT_STREAMS: 100, codes.MAX_HEADER_LIST_SIZE: 65536,
                         **{codes[k]: v for k, v in (settings or {}).items()}}
        self.on_connection = on_connection  # (connection): instead of HTTP/2, unless it returns True
        self.on_request = None  # (stream): as soon as the head is there
        self.connections, self.errors = [], []
        self.path = path
        self.listener = (socket.create_server(path, family=socket.AF_UNIX, backlog=512) if path
                         else socket.create_server(('127.0.0.1', 0), backlog=512))
        self.host, self.port = ('127.0.0.1', self.listener.getsockname()[1]) if not path else (path, 0)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self):
        if self.path:
            return f'unix:{self.path}:/v1'
        return f'{"https" if self.tls else "http"}://{"localhost" if self.tls else "127.0.0.1"}:{self.port}/v1'

    @property
    def streams(self):
        return [s for c in list(self.connections) for s in list(c.order)]

    def play_one(self, stream):
        try:
            self.play(stream)
        except (OSError, h2.exceptions.ProtocolError):
            pass  # the peer left: often just what a test wants to see
        except Exception as error:  # a mistake in the test itself; finish() tells
            self.errors.append(error)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
            if self.on_connection and self.on_connection(connection) is not True:
                return
            connection.run()
        except (OSError, h2.exceptions.ProtocolError) as gone:
            connection.ended_by = gone
        except Exception as error:
            self.errors.append(error)
        finally:
            try:
                connection.sock.close()
            except OSError:
                pass
            connection.ended.set()

    def finish(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in list(self.connections):
            connection.cut()
        assert not self.errors, f'the script failed: {self.errors!r}'


def good(text='hello', wait_s=0.0):
    """Answers as it is asked, streamed or whole."""
    whole, events = json.dumps(harness.chat_answer(text)).encode(), harness.sse_events([text])

    def play(stream):
        if wait_s:
            time.sleep(wait_s)
        if b'"stream":true' in stream.body.replace(b' ', b''):
            if stream.sse(events):
                stream.end()
        else:
            stream.respond(200, whole)
    return play
