"""Grafana dashboards over the metrics."""
