"""Reads manifests and holds them against the schemas of Kubernetes; run by an interpreter that has them.

    venv-kubernetes/bin/python kubernetes_schemas.py VERSION… < manifests.yaml

Prints JSON: `documents`; `configs`, what every file `ftpgate.yaml` of a ConfigMap says, by the ConfigMap's
name; `problems`, a line each. `strict`: a field that the schema does not know is a problem.
"""

import functools
import json
import sys

import kubernetes_validate
import kubernetes_validate.utils
import yaml

# It parses all definitions of a version again for each document.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

# Not Kubernetes' own, so there is no schema.
FOREIGN = ("monitoring.coreos.com/v1",)


def problems(document, version):
    if document["apiVersion"] in FOREIGN:
        return
    name = f"{document['kind']} {document['metadata']['name']}"
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(part) for part in error.path)
        yield f"{name}: Kubernetes {version}: {place}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield f"{name}: Kubernetes {version}: {error.message}"


def main():
    documents = [document for document in yaml.safe_load_all(sys.stdin) if document]
    configs = {document["metadata"]["name"]: yaml.safe_load(document["data"]["ftpgate.yaml"])
               for document in documents
               if document["kind"] == "ConfigMap" and "ftpgate.yaml" in document["data"]}
    found = [problem for document in documents for version in sys.argv[1:]
             for problem in problems(document, version)]
    json.dump({"documents": documents, "configs": configs, "problems": found}, sys.stdout)


if __name__ == "__main__":
    main()
