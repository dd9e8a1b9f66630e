"""The database itself refuses to change or remove a deployment."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION registry_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'deployments are only ever added' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER deployments_are_append_only
    BEFORE UPDATE OR DELETE ON registry_deployment
    FOR EACH ROW EXECUTE FUNCTION registry_refuse_change();
"""
BACKWARD = """
DROP TRIGGER deployments_are_append_only ON registry_deployment;
DROP FUNCTION registry_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
