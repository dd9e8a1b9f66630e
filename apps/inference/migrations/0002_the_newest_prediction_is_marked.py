from django.db import migrations, models

# Which prediction of a patient is the newest, so that a list of 100,000 patients need not sort all
# predictions to find out.
TRIGGERS = """
CREATE FUNCTION inference_prediction_added() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    patients uuid[] := ARRAY(SELECT DISTINCT patient_id FROM fresh);
BEGIN
    UPDATE inference_prediction SET is_newest = false
    WHERE patient_id = ANY (patients) AND is_newest;
    UPDATE inference_prediction SET is_newest = true WHERE id IN (
        SELECT (
            SELECT p.id FROM inference_prediction p WHERE p.patient_id = patient
            ORDER BY p.created_at DESC, p.id DESC LIMIT 1
        ) FROM unnest(patients) AS patient
    );
    RETURN NULL;
END $$;
CREATE TRIGGER prediction_added AFTER INSERT ON inference_prediction
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION inference_prediction_added();

CREATE FUNCTION inference_prediction_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inference_prediction SET is_newest = true WHERE id IN (
        SELECT (
            SELECT p.id FROM inference_prediction p WHERE p.patient_id = gone.patient_id
            ORDER BY p.created_at DESC, p.id DESC LIMIT 1
        ) FROM gone WHERE gone.is_newest
    );
    RETURN NULL;
END $$;
CREATE TRIGGER prediction_removed AFTER DELETE ON inference_prediction
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION inference_prediction_removed();

UPDATE inference_prediction SET is_newest = true WHERE id IN (
    SELECT DISTINCT ON (patient_id) id FROM inference_prediction
    ORDER BY patient_id, created_at DESC, id DESC
);

-- A saved object that was read before does not undo the mark.
CREATE FUNCTION inference_newest_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.is_newest := OLD.is_newest;
    RETURN NEW;
END $$;
CREATE TRIGGER newest_stays BEFORE UPDATE ON inference_prediction
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND OLD.is_newest <> NEW.is_newest)
    EXECUTE FUNCTION inference_newest_stays();
"""
NO_TRIGGERS = """
DROP TRIGGER newest_stays ON inference_prediction;
DROP FUNCTION inference_newest_stays();
DROP TRIGGER prediction_removed ON inference_prediction;
DROP TRIGGER prediction_added ON inference_prediction;
DROP FUNCTION inference_prediction_removed();
DROP FUNCTION inference_prediction_added();
"""


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="prediction",
            name="is_newest",
            field=models.BooleanField(
                default=False, editable=False, help_text="Of its patient; kept by triggers."
            ),
        ),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
        migrations.AddConstraint(
            model_name="prediction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_newest", True)),
                fields=("patient",),
                name="one_newest_prediction_per_patient",
            ),
        ),
    ]
