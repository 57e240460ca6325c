"""Rules that go in a batch of which the news begin with something else."""

from cells import Setting
from faults import Rest, as_owner, flush_behind_an_element
from lab import Failed
from process import wait_until
from scenarios import scenario
from scenarios.faults import Running, repairs
from scenarios.pinholes import lab_of

# Unasked it is looked every ten seconds: what is noticed three times within half of that is heard of.
TIMES = 3
HEARD = 5.0


@scenario("faults: a chain is flushed behind an element")
def behind(binary, folder):
    with lab_of(folder, binary, Setting("tproxy", "gateway", "kernel")) as lab:
        rest = Rest(lab)
        with Running(lab) as running:
            for times in range(1, TIMES + 1):
                as_owner(lab, flush_behind_an_element("source"))
                wait_until(lambda: repairs(lab, "table") == times, "not noticed at once", HEARD)
                if not any(item.get("rule", {}).get("chain") == "source" for item in lab.table()):
                    raise Failed("the rules of the chain are not put back")
            running.moves()
            running.ends()
        rest.again()
