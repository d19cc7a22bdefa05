"""How a cluster of a test's own is protected: settings for `LocalKafka`, whose listener CLIENTS they are about.

`own_kafka(1, *passwords("PLAIN", shop="secret"), clients="SASL_PLAINTEXT")` lets in who proves to be `shop` at
`server.clients_bootstrap`. The other listener stays open to everybody, who is a superuser there.
"""

from pathlib import Path
from typing import Literal

from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.kafka_servers import READ_TIMEOUT_S, Kafka

Scram = Literal["SCRAM-SHA-256", "SCRAM-SHA-512"]
Resource = Literal["topic", "group", "transactional_id", "broker"]
SECURITY = "org.apache.kafka.common.security"
LISTENER = "listener.name.clients"

# Without a rule for it nobody may do anything, but for everybody on the open listener.
ACLS = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
)


def passwords(mechanism: Literal["PLAIN"] | Scram, **users: str) -> list[str]:
    """`users` are names with their passwords; those of SCRAM are kept by the cluster: `add_user`."""
    if mechanism == "PLAIN":
        module = f"{SECURITY}.plain.PlainLoginModule"
    else:
        assert not users, "users of SCRAM are added with add_user"
        module = f"{SECURITY}.scram.ScramLoginModule"
    known = "".join(f' user_{name}="{password}"' for name, password in users.items())
    return [
        f"{LISTENER}.sasl.enabled.mechanisms={mechanism}",
        f"{LISTENER}.{mechanism.lower()}.sasl.jaas.config={module} required{known};",
    ]


def tokens() -> list[str]:
    """OAUTHBEARER with tokens that nobody signs: librdkafka makes them with
    ``enable.sasl.oauthbearer.unsecure.jwt=true`` and ``sasl.oauthbearer.config=principal=shop``."""
    module = f'{SECURITY}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    return [
        f"{LISTENER}.sasl.enabled.mechanisms=OAUTHBEARER",
        f"{LISTENER}.oauthbearer.sasl.jaas.config={module}",
    ]


def tls(authority: Path, name: str = "server", *, ask_clients: bool = False) -> list[str]:
    """The certificate `name` of a `tests.certificates.Authority`'s folder; `ask_clients` for certificates of hers too.

    A client is then the name in its certificate: ``User:CN=shop``.
    """
    both = authority / f"{name}-both.pem"
    both.write_bytes((authority / f"{name}-key.pem").read_bytes() + (authority / f"{name}.pem").read_bytes())
    return [
        f"{LISTENER}.ssl.keystore.type=PEM",
        f"{LISTENER}.ssl.keystore.location={both}",
        f"{LISTENER}.ssl.truststore.type=PEM",
        f"{LISTENER}.ssl.truststore.location={authority / 'ca.pem'}",
        f"{LISTENER}.ssl.client.auth={'required' if ask_clients else 'none'}",
    ]


def add_user(kafka: Kafka, name: str, password: str, mechanism: Scram) -> None:
    info = ScramCredentialInfo(getattr(ScramMechanism, mechanism.replace("-", "_")), 4096)
    change = UserScramCredentialUpsertion(name, info, password.encode())
    kafka.admin.alter_user_scram_credentials([change])[name].result(READ_TIMEOUT_S)


def allow(kafka: Kafka, user: str, resource: Resource, name: str, *operations: str) -> None:
    """`operations` as Kafka names them: ``WRITE``, ``CREATE``, ``DESCRIBE``; the name ``*`` stands for any."""
    rules = [AclBinding(*_about(resource, name, user, operation)) for operation in operations]
    for added in kafka.admin.create_acls(rules).values():
        added.result(READ_TIMEOUT_S)


def withdraw(kafka: Kafka, user: str, resource: Resource, name: str, *operations: str) -> None:
    """Take back what `allow` gave in the same words."""
    rules = [AclBindingFilter(*_about(resource, name, user, operation)) for operation in operations]
    for removed in kafka.admin.delete_acls(rules).values():
        assert removed.result(READ_TIMEOUT_S), f"{user} had no such rule about {name}"


def _about(
    resource: Resource, name: str, user: str, operation: str
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    kind, pattern = ResourceType[resource.upper()], ResourcePatternType.LITERAL
    return kind, name, pattern, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW
