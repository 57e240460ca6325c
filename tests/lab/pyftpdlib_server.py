"""pyftpdlib as a server. Arguments: folder, user, password, port, addresses to listen on."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

home, user, password, port, *addresses = sys.argv[1:]

authorizer = DummyAuthorizer()
authorizer.add_user(user, password, home, perm="elradfmwMT")
FTPHandler.authorizer = authorizer
FTPHandler.use_sendfile = False
FTPServer.max_cons_per_ip = 0

servers = [FTPServer((address, int(port)), FTPHandler) for address in addresses]
# All of them share one event loop; serving one serves all.
servers[0].serve_forever(handle_exit=True)
