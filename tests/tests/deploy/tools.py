"""What only Python packages offer: YAML, the engine of Helm, the schemas of Kubernetes.

tools.py json FILE...            all documents of YAML files, as a list in JSON
tools.py helm CHART VALUES       the objects that a chart gives with these values (JSON)
tools.py lint CHART VALUES       what `helm lint --strict` says
tools.py validate VERSION FILE   checks each document against the strict schema of a version
"""

import json
import sys

import yaml


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def to_json(*files):
    found = []
    for file in files:
        with open(file, encoding="utf-8") as source:
            found += documents(source.read())
    return found


def helm(chart, values):
    from helm_python import Chart

    with Chart.load(chart) as loaded:
        rendered = loaded.render(values=json.loads(values), name="tare", namespace="tare")
    return [document for text in rendered.values() for document in documents(text)]


def lint(chart, values):
    import helm_python

    return helm_python.lint(chart, json.loads(values), strict=True, namespace="tare")


def validate(version, file):
    import kubernetes_validate

    checked = []
    for document in to_json(file):
        # The schemas of Kubernetes do not have those of the Prometheus operator.
        if not document["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(document, version, strict=True)
            checked.append(document["kind"])
    return checked


if __name__ == "__main__":
    commands = {"json": to_json, "helm": helm, "lint": lint, "validate": validate}
    print(json.dumps(commands[sys.argv[1]](*sys.argv[2:])))
