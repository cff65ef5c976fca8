"""${message[0].upper() + message[1:].rstrip(".")}."""

from migrations.files import steps

revision = "${up_revision}"
down_revision = "${down_revision}"
branch_labels = None
depends_on = None

upgrade, downgrade = steps(__file__)
