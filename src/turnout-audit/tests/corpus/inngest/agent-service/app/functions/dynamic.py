import importlib
from importlib import import_module

sdk = importlib.import_module("inngest")
connect = import_module("inngest.connect")
encryption = __import__("inngest_encryption")
ours = importlib.import_module("app.inngest_adapter")
