"""How data connections end, on both paths, and mode conversion on the relay path."""

import io
import itertools
import time

from cells import Setting
from lab import Failed, Lab
from process import wait_until
from scenarios import scenario
from scenarios.pinholes import Opening, lab_of

PATHS = [Setting("tproxy", "gateway", "kernel"), Setting("tproxy", "gateway", "relay"),
         Setting("direct", "gateway", "relay"), Setting("tproxy", "client", "relay")]


@scenario("half-close is kept", *PATHS)
def half_close(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab, lab.peers() as peers:
        for mode, first in itertools.product(("PASV", "PORT"), ("near", "far")):
            opening = Opening(lab, peers, mode, 4)
            near, far = opening.use()
            one, two = (near, far) if first == "near" else (far, near)
            one.send(b"all of it")
            one.half_close()
            if two.read_to_end() != b"all of it":
                raise Failed("the contents differ")
            two.send(b"a last word")
            two.close()
            if one.read_to_end() != b"a last word":
                raise Failed(f"{mode}: the half-closed connection was cut")
            opening.close()
            one.close()


@scenario("a reset is passed on as a reset", *PATHS)
def reset(binary, folder, setting):
    with lab_of(folder, binary, setting) as lab, lab.peers() as peers:
        for mode, resetter in itertools.product(("PASV", "PORT"), ("near", "far")):
            opening = Opening(lab, peers, mode, 4)
            near, far = opening.use()
            one, two = (near, far) if resetter == "near" else (far, near)
            one.send(b"half of it")
            two.read(10)
            one.reset()
            try:
                two.read_to_end()
            except ConnectionResetError:
                pass
            else:
                raise Failed(f"{mode}: the reset is seen as an end in order")
            opening.close()
        wait_until(lambda: lab.gateway.metrics().sum("data_connections_active") == 0,
                   "data_connections_active is not 0", timeout=15)


@scenario("data.mode converts", *itertools.product(("passive", "active"),
                                                   (PATHS[1], PATHS[2], PATHS[3])))
def conversion(binary, folder, parameter):
    """The server knows one mode only; the client uses the other."""
    towards_server, setting = parameter
    forbidden = "port_enable" if towards_server == "passive" else "pasv_enable"
    modes = ("PORT", "EPRT") if towards_server == "passive" else ("PASV", "EPSV")
    with Lab(folder, binary, setting, data={"mode": towards_server},
             vsftpd_extra=f"{forbidden}=NO") as lab:
        digest = lab.put_file("x", 1 << 20)
        for family, mode in [(4, mode) for mode in modes] + [(6, modes[1])]:
            ftp = lab.ftp(mode, family=family)
            if ftp.fetch_digest("x") != (1 << 20, digest):
                raise Failed(f"{mode} over IPv{family}: the download differs")
            ftp.storbinary("STOR y", io.BytesIO(b"upload"))
            with open(lab.server.path("y"), "rb") as stored:
                if stored.read() != b"upload":
                    raise Failed(f"{mode} over IPv{family}: the upload differs")
            names = ftp.nlst()
            if "y" not in names:
                raise Failed(f"{mode} over IPv{family}: the listing is {names}")
            ftp.ask("DELE y", "250")
            ftp.quit()


@scenario("the control connection idles through a long transfer", *PATHS[:2])
def idle_control(binary, folder, setting):
    """Case 44: with an idle timeout much shorter than the transfer."""
    with lab_of(folder, binary, setting, limits={"idle_timeout": "2s"},
                data={"idle_timeout": "10s"}) as lab, lab.peers() as peers:
        opening = Opening(lab, peers, "PASV", 4)
        peers.exchange("RETR x", "150 here")
        near, far = opening.use()
        for _ in range(10):
            far.send(b"slowly")
            if near.read(6) != b"slowly":
                raise Failed("the contents differ")
            time.sleep(0.5)
        far.close()
        near.read_to_end()
        peers.say("226 done")
        peers.exchange("NOOP", "200 still here")
        opening.close()
