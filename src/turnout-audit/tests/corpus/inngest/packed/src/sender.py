from packed.client import inngest_client


def sender():
    return inngest_client.send_sync


def receiver(inngest_client):
    return inngest_client.receive
