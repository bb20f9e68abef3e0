"""The agents on a Kafka cluster; the only place that knows Faust."""
