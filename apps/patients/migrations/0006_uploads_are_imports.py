from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

OLD = ("patients", "EhrUpload")  # the type checker knows the models of today alone
NOTE = (
    "Stored by the simple upload of an earlier version, which kept neither the name of the file nor "
    "the number of its rows."
)


def uploads_to_imports(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each upload becomes the stored import that it was: the same moment, file hash and counts."""
    EhrUpload = apps.get_model(*OLD)
    EhrImport = apps.get_model("patients", "EhrImport")
    for upload in EhrUpload.objects.order_by("uploaded_at").iterator():
        imports = EhrImport.objects.filter(cohort=upload.cohort_id)
        known = imports.filter(sha256=upload.sha256, sheet="").exclude(
            stage__in=["cancelled", "undone"]
        )
        if known.exists():  # the wizard has read this very file since, and says so
            continue
        EhrImport.objects.create(
            cohort_id=upload.cohort_id,
            requested_by_id=upload.uploaded_by_id,
            requested_at=upload.uploaded_at,
            stage="committed",
            file_name=f"Upload of {upload.uploaded_at:%Y-%m-%d}",
            sha256=upload.sha256,
            bytes=0,
            committed_at=upload.uploaded_at,
            patients_new=upload.patients_new,
            patients_updated=upload.patients_updated,
            findings=upload.findings,
            notes=[*upload.notes, NOTE],
        )


class Migration(migrations.Migration):
    dependencies = [("patients", "0005_patients_know_age_sex_and_imports")]
    operations = [
        migrations.RunPython(uploads_to_imports, migrations.RunPython.noop),
        migrations.DeleteModel(name="EhrUpload"),
    ]
