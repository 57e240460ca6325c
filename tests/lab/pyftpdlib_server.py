"""pyftpdlib as a server. Arguments: folder, user, password, port, address to listen on; TLS by options."""

import argparse

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

parser = argparse.ArgumentParser()
for name in ("home", "user", "password", "port", "address"):
    parser.add_argument(name)
parser.add_argument("--chain", help="take TLS with this certificate")
parser.add_argument("--key")
parser.add_argument("--version", help="the only version of TLS: 1.2 or 1.3")
parser.add_argument("--implicit", action="store_true", help="TLS from the first byte")
parser.add_argument("--required", action="store_true", help="no login and no data without TLS")
parser.add_argument("--foreign", action="store_true", help="data with others than the client (FXP)")
args = parser.parse_args()


def secured():
    """The handler that takes TLS."""
    from OpenSSL import SSL
    from pyftpdlib.handlers import TLS_FTPHandler

    class ImplicitHandler(TLS_FTPHandler):
        def handle(self):
            self.secure_connection(self.ssl_context)

        def handle_ssl_established(self):
            super().handle_ssl_established()
            TLS_FTPHandler.handle(self)

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(args.chain)
    context.use_privatekey_file(args.key)
    if args.version:
        only = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[args.version]
        context.set_min_proto_version(only)
        context.set_max_proto_version(only)
    handler = ImplicitHandler if args.implicit else TLS_FTPHandler
    handler.ssl_context = context
    handler.tls_control_required = handler.tls_data_required = args.required
    return handler


handler = secured() if args.chain else FTPHandler
authorizer = DummyAuthorizer()
authorizer.add_user(args.user, args.password, args.home, perm="elradfmwMT")
handler.authorizer = authorizer
handler.permit_foreign_addresses = args.foreign
handler.use_sendfile = False
ThreadedFTPServer.max_cons_per_ip = 0

# An event loop a session: the single loop of FTPServer now and then forgets a connection.
ThreadedFTPServer((args.address, int(args.port)), handler).serve_forever(handle_exit=True)
