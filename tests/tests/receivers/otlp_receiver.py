"""Takes OTLP over gRPC, with the messages that OpenTelemetry publishes for Python.

Arguments: the address, the file to write, and the metrics that are wanted. Each point of a container
becomes a line of JSON.
"""

import json
import sys
from concurrent import futures

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as messages
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as services

address, path, *wanted = sys.argv[1:]
out = open(path, "a", encoding="utf-8")


def texts(attributes):
    return {attribute.key: attribute.value.string_value for attribute in attributes}


def points(metric):
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        if kind == "exponential_histogram":
            value = point.count
        else:
            value = getattr(point, point.WhichOneof("value"))
        yield {
            "metric": metric.name,
            "kind": kind,
            "attributes": texts(point.attributes),
            "start": point.start_time_unix_nano,
            "time": point.time_unix_nano,
            "value": value,
        }


class Receiver(services.MetricsServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_metrics:
            container = texts(resource.resource.attributes).get("container.name")
            if container is None:
                continue
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name in wanted:
                        for point in points(metric):
                            print(json.dumps({"container": container, **point}), file=out)
        out.flush()
        return messages.ExportMetricsServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(2))
services.add_MetricsServiceServicer_to_server(Receiver(), server)
server.add_insecure_port(address)
server.start()
server.wait_for_termination()
