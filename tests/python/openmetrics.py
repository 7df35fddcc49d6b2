"""Reads OpenMetrics from its standard input, as strictly as the parser of Prometheus' own library does, and says
each metric's name and type."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type)
