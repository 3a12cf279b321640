"""The embedded platform: a workspace folder, MLflow on SQLite, a server on 127.0.0.1."""
