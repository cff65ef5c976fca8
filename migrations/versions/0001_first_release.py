"""The first release."""

from migrations.files import steps

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

upgrade, downgrade = steps(__file__)
