"""A Motion JPEG camera that asks for a login, made with Python's HTTP server.

    http_camera.py JPEG basic|digest USER PASSWORD

Serves the JPEG ten times a second, at any path, to clients that log in by RFC 7617 or RFC 7616. Prints
"ready PORT", and "refused" for each wrong login.
"""

import base64
import hashlib
import http.server
import secrets
import sys
import time
import urllib.request

jpeg, kind, user, password = open(sys.argv[1], "rb").read(), *sys.argv[2:]
nonce = secrets.token_hex(16)


def md5(*parts):
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def right(header, path):
    scheme, _, rest = header.partition(" ")
    if kind == "basic":
        return scheme == "Basic" and base64.b64decode(rest).decode() == f"{user}:{password}"
    given = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
    told = [given["nonce"], given["nc"], given["cnonce"], given["qop"]]
    expected = md5(md5(user, "camera", password), *told, md5("GET", path))
    return (scheme, given["username"], given["uri"]) == ("Digest", user, path) and (
        given["nonce"] == nonce and given["response"] == expected
    )


class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        header = self.headers.get("Authorization")
        if header is None or not right(header, self.path):
            if header is not None:
                print("refused", flush=True)
            self.send_response(401)
            # Most cameras with digest authentication also offer basic.
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            if kind == "digest":
                self.send_header(
                    "WWW-Authenticate",
                    f'Digest realm="camera", qop="auth", nonce="{nonce}", algorithm=MD5',
                )
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        try:
            while True:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
print("ready", server.server_port, flush=True)
server.serve_forever()
