"""pyftpdlib as a server. Arguments: folder, user, password, port, address to listen on."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

home, user, password, port, address = sys.argv[1:]

authorizer = DummyAuthorizer()
authorizer.add_user(user, password, home, perm="elradfmwMT")
FTPHandler.authorizer = authorizer
FTPHandler.use_sendfile = False
ThreadedFTPServer.max_cons_per_ip = 0

# An event loop a session: the single loop of FTPServer now and then forgets a connection.
ThreadedFTPServer((address, int(port)), FTPHandler).serve_forever(handle_exit=True)
