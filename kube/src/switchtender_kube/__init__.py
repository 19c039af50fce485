"""Talking to a Kubernetes API server: transport, reflector, server-side apply, Lease election. Knows no group.

Everything is raw JSON (``Json`` = a ``dict`` as ``json.loads`` gives it): typed models of whole lists block the event
loop for seconds and cost half a GiB. (Importing ``kubernetes.aio`` at all costs 21 MiB and 0.3 s of CPU above aiohttp's
33 MiB.) What a user of this package needs::

    client = await Client.connect(kubeconfig=None, context=None, server=None, token=None)
    client.namespace                                     # our own (ServiceAccount, kubeconfig's context), or None
    await client.get(path, query=None)
    await client.list(path, query=None)                  # all pages; restarted when its snapshot expired (410)
    await client.create(path, body, fence=None, query=None, timeout=30)   # POST; 409: ApiError reason "AlreadyExists"
    await client.replace(path, body, fence=None, …)      # PUT; the body's resourceVersion makes it conditional
    await client.patch(path, body, content_type, fence=None, …)
    await client.apply(path, body, field_manager="…", force=True, fence=None, …)   # server-side apply
    await client.delete(path, uid=None, resource_version=None, grace=None, propagation=None, fence=None, …)
    client.watch(path, query, silence=70)                # async generator of bytes, a line an event; use aclosing
    await client.close()

    Resource(group, version, plural, namespaced=True).path(namespace=None, name=None, subresource=None)
    Reflector(client, resource, namespace=…, project=…, changed=…, label_selector=…, field_selector=…)
        .store  .synced  .run()  .stats  .health  .idle  .wedged
    Elector(client, namespace, name, identity, …)
        .run(on_started, on_stopped)  .is_leader()  .remaining()
    WriteLimiter(qps, burst).call(write)                 # or .acquire() and .pause(seconds)

Every method of the client raises ``ApiError`` (an HTTP answer that is no success; ``Conflict`` for 409 reason
Conflict), ``Unreachable`` (no answer), ``NotLeader`` (the fence was closed: nothing was sent); ``Client.connect``
raises ``ConfigurationError``. ``fence=elector.is_leader`` is asked at the moment the request's body goes to the socket,
and limits the request's time to what remains of the lease.
"""

from switchtender_kube.client import Client
from switchtender_kube.clock import boottime
from switchtender_kube.credentials import ConfigurationError
from switchtender_kube.errors import ApiError, Conflict, NotLeader, Silence, Unreachable
from switchtender_kube.fence import Fence
from switchtender_kube.lease import Elector
from switchtender_kube.limits import WriteLimiter
from switchtender_kube.reflector import Health, Reflector, Stats
from switchtender_kube.resources import Json, Resource

__all__ = [
    "ApiError",
    "Client",
    "ConfigurationError",
    "Conflict",
    "Elector",
    "Fence",
    "Health",
    "Json",
    "NotLeader",
    "Reflector",
    "Resource",
    "Silence",
    "Stats",
    "Unreachable",
    "WriteLimiter",
    "boottime",
]
