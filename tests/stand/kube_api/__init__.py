"""A scripted Kubernetes API server: faithful where the product looks, and faulty on demand. No product code in it.

::

    async with KubeApi() as api:      # own=False: our resources only with their CRDs; token=…
        api.url, api.kubeconfig(path)                # for a client in the test, for a process
        api.put({...})                               # create or replace by the test's hand, status included
        api.merge("pods", "voice", "fs-0", {...}); api.delete("pods", "voice", "fs-0"); api.remove(...)
        api.object("balancergroups", "voice", "ivr"); api.objects("pods")
        api.fail("pods", "list", 429, retry_after=3, times=2); api.fail("leases", "update", 500) -> Fault; fault.clear()
        api.fail("pods", "watch", 410, in_stream=True, times=1); api.in_stream_error(500, "pods")
        api.freeze(); api.freeze("pods", "watch"); api.thaw(); api.drop_connections(); await api.stop()
        api.compact(); api.partial_list("pods", keep=3); api.empty_list("pods"); api.bookmark(); api.end_watches()
        api.requests, api.calls("apply", "destinationsets"), api.watches("pods"); await api.watched("pods")
        api.reviews.accounts["token"] = Account("system:serviceaccount:voice:tracer", ("switchtender",))
        api.reviews.allowed.add((username, path, verb))       # for SubjectAccessReviews
        await eventually(lambda: …)
"""

from tests.stand.kube_api.faults import Fault, Request
from tests.stand.kube_api.kinds import Kind
from tests.stand.kube_api.refusals import Refused
from tests.stand.kube_api.reviews import Account
from tests.stand.kube_api.server import KubeApi, eventually
from tests.stand.kube_api.store import Store, event_of

__all__ = ["Account", "Fault", "Kind", "KubeApi", "Refused", "Request", "Store", "event_of", "eventually"]
