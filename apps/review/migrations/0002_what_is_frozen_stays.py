"""The database itself keeps a frozen study as it was frozen, and answers as they were submitted."""

import django.db.models.deletion
from django.db import migrations, models

FUNCTIONS = """
CREATE FUNCTION review_refuse(why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', why USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION review_state_of(study bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT state FROM review_readerstudy WHERE id = study
$$;

-- A study goes forward alone, but for a freeze that did not succeed; its protocol stays.
CREATE FUNCTION review_study_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'draft' THEN
            PERFORM review_refuse('a study that was frozen is not deleted');
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('draft', 'freezing'), ('freezing', 'draft'), ('freezing', 'open'), ('open', 'locked'),
        ('locked', 'unblinded')
    ) THEN
        PERFORM review_refuse('a study only goes from draft to open to locked to unblinded');
    END IF;
    IF OLD.state <> 'draft' AND (OLD.protocol, OLD.title, OLD.manager_id, OLD.created_at)
        IS DISTINCT FROM (NEW.protocol, NEW.title, NEW.manager_id, NEW.created_at) THEN
        PERFORM review_refuse('the protocol of a frozen study does not change');
    END IF;
    IF OLD.state NOT IN ('draft', 'freezing') AND (
        (OLD.protocol_sha256, OLD.opened_at) IS DISTINCT FROM (NEW.protocol_sha256, NEW.opened_at)
        OR (OLD.is_simulated AND NOT NEW.is_simulated)
    ) THEN
        PERFORM review_refuse('the marks of an opened study do not change');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER study_changes BEFORE UPDATE OR DELETE ON review_readerstudy
    FOR EACH ROW EXECUTE FUNCTION review_study_changes();

-- Cases come and go in a draft. Later a copy is named (while freezing), a source may go, or the
-- case is withdrawn with its patient.
CREATE FUNCTION review_case_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state text := review_state_of(CASE WHEN TG_OP = 'INSERT' THEN NEW.study_id ELSE OLD.study_id END);
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF state <> 'draft' THEN
            PERFORM review_refuse('no case leaves a frozen study');
        END IF;
        RETURN OLD;
    END IF;
    IF state = 'draft' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM review_refuse('no case is added to a frozen study');
    END IF;
    IF (OLD.study_id, OLD.number, OLD.arm, OLD.is_practice, OLD.source_sha256)
        IS DISTINCT FROM (NEW.study_id, NEW.number, NEW.arm, NEW.is_practice, NEW.source_sha256)
        OR (NEW.scan_id IS DISTINCT FROM OLD.scan_id AND NEW.scan_id IS NOT NULL)
        OR (NEW.pseudo_mri_id IS DISTINCT FROM OLD.pseudo_mri_id AND NEW.pseudo_mri_id IS NOT NULL)
        OR ((OLD.patient_id, OLD.age_years, OLD.is_female, OLD.is_ad)
            IS DISTINCT FROM (NEW.patient_id, NEW.age_years, NEW.is_female, NEW.is_ad)
            AND NEW.withdrawn_at IS NULL)
        OR (OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS DISTINCT FROM OLD.withdrawn_at)
        OR (state <> 'freezing' AND (NEW.sha256 <> OLD.sha256
            OR (NEW.file <> OLD.file AND NEW.withdrawn_at IS NULL)))
    THEN
        PERFORM review_refuse('the cases of a frozen study do not change');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER case_changes BEFORE INSERT OR UPDATE OR DELETE ON review_case
    FOR EACH ROW EXECUTE FUNCTION review_case_changes();

CREATE FUNCTION review_reader_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND review_state_of(OLD.study_id) <> 'draft' THEN
        PERFORM review_refuse('the readers of a frozen study do not change');
    END IF;
    IF TG_OP <> 'DELETE' AND review_state_of(NEW.study_id) <> 'draft' THEN
        PERFORM review_refuse('no reader joins a frozen study');
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER reader_changes BEFORE INSERT OR UPDATE OR DELETE ON review_reader
    FOR EACH ROW EXECUTE FUNCTION review_reader_changes();

-- Orders are written once, by the freeze.
CREATE FUNCTION review_slot_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM review_refuse('the order of a study does not change');
    END IF;
    IF (SELECT review_state_of(study_id) FROM review_reader WHERE id = NEW.reader_id) <> 'freezing'
    THEN
        PERFORM review_refuse('orders are written by the freeze alone');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slot_changes BEFORE INSERT OR UPDATE OR DELETE ON review_slot
    FOR EACH ROW EXECUTE FUNCTION review_slot_changes();

CREATE FUNCTION review_state_of_slot(slot bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT review_state_of(reader.study_id) FROM review_slot AS s
    JOIN review_reader AS reader ON reader.id = s.reader_id WHERE s.id = slot
$$;

CREATE FUNCTION review_reading_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM review_refuse('readings are not deleted');
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.submitted_at IS NOT NULL THEN
        PERFORM review_refuse('a submitted reading does not change; amend it');
    END IF;
    IF review_state_of_slot(NEW.slot_id) <> 'open' THEN
        PERFORM review_refuse('only an open study is read');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reading_changes BEFORE INSERT OR UPDATE OR DELETE ON review_reading
    FOR EACH ROW EXECUTE FUNCTION review_reading_changes();

CREATE FUNCTION review_amendment_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    read record;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM review_refuse('amendments are only ever added');
    END IF;
    SELECT slot_id, submitted_at INTO read FROM review_reading WHERE id = NEW.reading_id;
    IF read.submitted_at IS NULL OR review_state_of_slot(read.slot_id) <> 'open' THEN
        PERFORM review_refuse('only a submitted reading of an open study is amended');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER amendment_changes BEFORE INSERT OR UPDATE OR DELETE ON review_amendment
    FOR EACH ROW EXECUTE FUNCTION review_amendment_changes();

-- The events of a draft go with the draft.
CREATE FUNCTION review_event_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' OR review_state_of(OLD.study_id) <> 'draft' THEN
        PERFORM review_refuse('events are only ever added');
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER event_changes BEFORE UPDATE OR DELETE ON review_studyevent
    FOR EACH ROW EXECUTE FUNCTION review_event_changes();
"""
NO_FUNCTIONS = """
DROP TRIGGER event_changes ON review_studyevent;
DROP TRIGGER amendment_changes ON review_amendment;
DROP TRIGGER reading_changes ON review_reading;
DROP TRIGGER slot_changes ON review_slot;
DROP TRIGGER reader_changes ON review_reader;
DROP TRIGGER case_changes ON review_case;
DROP TRIGGER study_changes ON review_readerstudy;
DROP FUNCTION review_event_changes();
DROP FUNCTION review_amendment_changes();
DROP FUNCTION review_reading_changes();
DROP FUNCTION review_state_of_slot(bigint);
DROP FUNCTION review_slot_changes();
DROP FUNCTION review_reader_changes();
DROP FUNCTION review_case_changes();
DROP FUNCTION review_study_changes();
DROP FUNCTION review_state_of(bigint);
DROP FUNCTION review_refuse(text);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("review", "0001_initial"),
        ("patients", "0009_scans_of_patients"),
    ]
    operations = [
        migrations.AddField(
            model_name="case",
            name="patient",
            field=models.ForeignKey(
                help_text="Whose brain it shows, so that the study copy goes when the patient goes.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="patients.patient",
            ),
        ),
        migrations.AddField(
            model_name="case",
            name="withdrawn_at",
            field=models.DateTimeField(
                help_text="When its patient was deleted and its study copy with them.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="studyevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("created", "Created"),
                    ("protocol_changed", "Protocol changed"),
                    ("cases_drawn", "Cases drawn"),
                    ("reader_invited", "Reader invited"),
                    ("reader_removed", "Reader removed"),
                    ("freeze_requested", "Freeze requested"),
                    ("opened", "Opened"),
                    ("draft_again", "Back to draft"),
                    ("locked", "Locked"),
                    ("unblinded", "Unblinded"),
                    ("analysed", "Analysed"),
                    ("exported", "Exported"),
                    ("simulated", "Readings simulated"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="case",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("withdrawn_at", None),
                    models.Q(
                        ("withdrawn_at__isnull", False),
                        ("age_years", None),
                        ("file", ""),
                        ("is_ad", None),
                        ("is_female", None),
                        ("patient", None),
                    ),
                    _connector="OR",
                ),
                name="withdrawn_case_shows_nobody",
            ),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
    ]
