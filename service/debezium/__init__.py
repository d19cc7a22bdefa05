"""Moving in from Debezium: its configuration and its stored offsets."""
