"""The promises of an artifact store, and the probe of its conditions."""

from turnout_operator.doctor.conditions import probe
from turnout_testing.conformance.artifact_store import ArtifactStoreContract, listed

from turnout.ports.artifact_store import ArtifactStore


class ProbedContract(ArtifactStoreContract):
    """The contract, and the probe that `doctor` runs."""

    async def test_the_probe_sees_what_the_backend_declares(self, store: ArtifactStore) -> None:
        """A store shows the abilities that it is known for, and the probe leaves nothing."""
        assert await probe(store) == self.abilities
        assert await listed(store) == []
