"""The key of this site: what makes hashes of its patients that nobody else can repeat.

It is a file of 32 random bytes, made when it is first needed. Hashes of one key can be compared, in
whatever store or run they are; the key itself is in none of them, its fingerprint is.
"""

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from medstrata.runtime.errors import MedstrataError

_BYTES = 32


@dataclass(frozen=True)
class PatientKey:
    """A key, and what may be known of it."""

    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it: 8 hexadecimal digits."""
        digest = hashlib.blake2b(b"fingerprint", key=self.secret, person=b"fingerprint")
        return digest.hexdigest()[:8]

    def hash(self, patient: str) -> str:
        """A patient's identity as a keyed BLAKE2b hash of 64 bits: 16 hexadecimal digits."""
        text = patient.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self.secret, digest_size=8).hexdigest()


def key_path() -> Path:
    """Where the key lies: $MEDSTRATA_PATIENT_KEY, else ~/.config/medstrata/patient.key."""
    usual = Path.home() / ".config" / "medstrata" / "patient.key"
    return Path(os.environ.get("MEDSTRATA_PATIENT_KEY") or usual)


def site_key() -> PatientKey:
    """The key of this site, made on first need; only its owner may read it.

    Raises:
        MedstrataError: it cannot be read or made, or is no key.
    """
    path = key_path()
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as error:
        raise MedstrataError(
            f"the patient key {path} cannot be read or made ({error.strerror}): let "
            "MEDSTRATA_PATIENT_KEY name a file that can"
        ) from error
    if len(secret) != _BYTES:
        raise MedstrataError(
            f"the patient key {path} has {len(secret)} bytes instead of {_BYTES}: put back its "
            "copy, or move it away to have a new one made"
        )
    return PatientKey(secret)


def _make(path: Path) -> None:
    """Write a key whole or not at all; of several processes at once, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
