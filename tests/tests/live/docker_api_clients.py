"""What programs in Python do with the Engine API. Prints one JSON document.

formulas ADDRESS ID: CPU, memory, network and block I/O of one answer, with `requests` alone.
sdk ADDRESS NAME: the calls of Docker's SDK for Python.
"""

import json
import sys
import time


def formulas(address, container):
    import requests

    url = f"http://{address}/containers/{container}/stats"
    stats = requests.get(url, {"stream": False}, timeout=10).json()
    read, written = 0.0, 0.0
    for entry in stats["blkio_stats"]["io_service_bytes_recursive"] or []:
        # cgroup v1 writes the first letter large, v2 does not.
        if entry["op"].lower() == "read":
            read += float(entry["value"])
        elif entry["op"].lower() == "write":
            written += float(entry["value"])
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    cpu = float(now["cpu_usage"]["total_usage"]) - float(before["cpu_usage"]["total_usage"])
    system = float(now["system_cpu_usage"]) - float(before["system_cpu_usage"])
    percent = 0.0
    if system > 0 and cpu > 0:
        # On cgroup v2 nobody counts CPUs apart.
        cpus = len(now["cpu_usage"].get("percpu_usage", [])) or now["online_cpus"]
        percent = cpu / system * float(cpus) * 100
    rx, tx = 0.0, 0.0
    for _, value in stats["networks"].items():
        rx += float(value["rx_bytes"])
        tx += float(value["tx_bytes"])
    usage, limit = float(stats["memory_stats"]["usage"]), float(stats["memory_stats"]["limit"])
    return {
        "cpu_percent": percent,
        "memory_usage": usage,
        "memory_limit": limit,
        "memory_percent": usage / limit * 100.0,
        "rx_bytes": rx,
        "tx_bytes": tx,
        "read_bytes": read,
        "written_bytes": written,
    }


def sdk(address, name):
    import docker

    client = docker.DockerClient(base_url=f"tcp://{address}", version="auto", timeout=10)
    container = client.containers.get(name)
    streamed = []
    for document in container.stats(stream=True, decode=True):
        streamed.append(document)
        if len(streamed) == 2:
            break
    used = [document["cpu_stats"]["cpu_usage"]["total_usage"] for document in streamed]
    now = int(time.time())
    events = client.events(since=now - 600, until=now, filters={"container": name}, decode=True)
    actions = [event["Action"] for event in events]
    try:
        client.containers.get("nosuch")
        unknown = None
    except docker.errors.NotFound as error:
        unknown = type(error).__name__
    try:
        container.stop()
        refused = None
    except docker.errors.APIError as error:
        refused = error.response.status_code
    return {
        "ping": client.ping(),
        "server": client.version()["Platform"]["Name"],
        "listed": container.id in [one.id for one in client.containers.list(all=True)],
        "filtered": [one.name for one in client.containers.list(filters={"name": name})],
        "id": container.id,
        "status": container.status,
        "label": container.labels.get("tare.test"),
        "command": (container.attrs["Config"].get("Entrypoint") or [])
        + (container.attrs["Config"].get("Cmd") or []),
        "once": container.stats(stream=False),
        "streamed": len(streamed),
        "streamed_grow": used[1] > used[0],
        "top": container.top(),
        "events": actions,
        "unknown": unknown,
        "refused": refused,
        "running": client.info()["ContainersRunning"],
    }


print(json.dumps({"formulas": formulas, "sdk": sdk}[sys.argv[1]](*sys.argv[2:])))
