"""Reads a page of metrics from stdin with Prometheus' own strict parser.

Prints one JSON object: each series, as NAME or NAME{KEY="VALUE",...} with sorted keys, and its
value.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

series = {}
for family in text_string_to_metric_families(sys.stdin.buffer.read().decode()):
    assert family.name.startswith("gatehouse_"), family
    assert family.documentation and family.type != "unknown", family
    for sample in family.samples:
        labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
        name = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert name not in series, name
        series[name] = sample.value
print(json.dumps(series))
