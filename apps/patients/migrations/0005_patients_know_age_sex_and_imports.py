import django.contrib.postgres.fields
from django.db import migrations, models

# The newest age and sex of a patient and the moments at which findings of theirs were stored, as
# columns of the patient. Triggers keep them, so that no writer of findings can forget to.
TRIGGERS = """
ALTER TABLE patients_patient SET (fillfactor = 60);

CREATE FUNCTION patients_newest_value(patient uuid, of_concept text) RETURNS double precision
LANGUAGE sql STABLE AS $$
    SELECT value FROM patients_finding WHERE patient_id = patient AND concept = of_concept
    ORDER BY observed_at DESC LIMIT 1
$$;

CREATE FUNCTION patients_finding_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE patients_patient AS p SET
        age_years = patients_newest_value(p.id, 'age'),
        female = patients_newest_value(p.id, 'female'),
        recorded_ats = CASE
            WHEN p.recorded_ats @> ARRAY[n.first_at, n.last_at] AND n.first_at = n.last_at
                THEN p.recorded_ats
            ELSE ARRAY(
                SELECT DISTINCT moment FROM unnest(p.recorded_ats || n.moments) AS moment
                ORDER BY moment DESC)
        END
    FROM (
        SELECT patient_id, min(recorded_at) AS first_at, max(recorded_at) AS last_at,
            CASE WHEN min(recorded_at) = max(recorded_at) THEN ARRAY[min(recorded_at)]
            ELSE array_agg(recorded_at) END AS moments
        FROM fresh GROUP BY patient_id
    ) AS n
    WHERE p.id = n.patient_id;
    RETURN NULL;
END $$;
CREATE TRIGGER finding_added AFTER INSERT ON patients_finding
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION patients_finding_added();

CREATE FUNCTION patients_finding_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE patients_patient AS p SET
        age_years = patients_newest_value(p.id, 'age'),
        female = patients_newest_value(p.id, 'female'),
        recorded_ats = ARRAY(
            SELECT DISTINCT recorded_at FROM patients_finding WHERE patient_id = p.id
            ORDER BY recorded_at DESC)
    WHERE p.id IN (SELECT patient_id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER finding_removed AFTER DELETE ON patients_finding
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION patients_finding_changed();
CREATE TRIGGER finding_changed AFTER UPDATE ON patients_finding
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION patients_finding_changed();

UPDATE patients_patient AS p SET
    age_years = patients_newest_value(p.id, 'age'),
    female = patients_newest_value(p.id, 'female'),
    recorded_ats = ARRAY(
        SELECT DISTINCT recorded_at FROM patients_finding WHERE patient_id = p.id
        ORDER BY recorded_at DESC);
"""
NO_TRIGGERS = """
DROP TRIGGER finding_changed ON patients_finding;
DROP TRIGGER finding_removed ON patients_finding;
DROP TRIGGER finding_added ON patients_finding;
DROP FUNCTION patients_finding_changed();
DROP FUNCTION patients_finding_added();
DROP FUNCTION patients_newest_value(uuid, text);
ALTER TABLE patients_patient RESET (fillfactor);
"""

# A cohort that exists has an owner, whoever changes memberships or deletes accounts. Looked at when
# the transaction ends, because a cohort is made before its first membership.
OWNERS = """
CREATE FUNCTION patients_cohort_has_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM patients_cohort WHERE id = OLD.cohort_id) AND NOT EXISTS (
        SELECT 1 FROM patients_membership WHERE cohort_id = OLD.cohort_id AND role = 'owner'
    ) THEN
        RAISE EXCEPTION 'a cohort without an owner'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'cohort_has_an_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER membership_ended AFTER DELETE OR UPDATE ON patients_membership
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION patients_cohort_has_owner();
"""
NO_OWNERS = """
DROP TRIGGER membership_ended ON patients_membership;
DROP FUNCTION patients_cohort_has_owner();
"""


class Migration(migrations.Migration):
    dependencies = [("patients", "0004_findings_without_a_number")]
    operations = [
        migrations.AddField(
            model_name="patient",
            name="age_years",
            field=models.FloatField(editable=False, help_text="Newest finding of age.", null=True),
        ),
        migrations.AddField(
            model_name="patient",
            name="female",
            field=models.FloatField(editable=False, help_text="Newest finding of sex.", null=True),
        ),
        migrations.AddField(
            model_name="patient",
            name="recorded_ats",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.DateTimeField(),
                db_default=[],
                editable=False,
                help_text="When findings were stored, one moment for each import, newest first.",
                size=None,
            ),
        ),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
        migrations.RunSQL(OWNERS, NO_OWNERS),
    ]
