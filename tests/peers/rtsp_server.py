"""An RTSP camera made with GStreamer: serves the JPEGs of a folder in H.264, ten a second, endlessly.

    rtsp_server.py FOLDER PORT [basic|digest USER PASSWORD | udp]

With `udp` it sends over UDP only. FOLDER holds f00000.jpg, f00001.jpg and so on. PORT 0 means a free port. Serves
rtsp://127.0.0.1:PORT/cam and prints "ready PORT". Needs the system's Python with GStreamer's bindings
(python3-gi and gir1.2-gst-rtsp-server-1.0 of Debian).
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

LAUNCH = (
    "( multifilesrc location={}/f%05d.jpg loop=true caps=image/jpeg,framerate=10/1 ! jpegdec "
    "! videoconvert ! video/x-raw,format=I420 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=2000 "
    "! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main():
    folder, port, *login = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(folder))
    factory.set_shared(True)
    if login == ["udp"]:
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    elif login:
        kind, user, password = login
        role = "camera"
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(role, permission, True)
        factory.set_permissions(permissions)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", role)
        auth = GstRtspServer.RTSPAuth()
        if kind == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    server.get_mount_points().add_factory("/cam", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen at port {port}")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
