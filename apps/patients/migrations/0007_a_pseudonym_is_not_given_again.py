from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("patients", "0006_uploads_are_imports")]
    operations = [
        migrations.AddField(
            model_name="cohort",
            name="numbers_given",
            field=models.PositiveIntegerField(
                db_default=0, editable=False, help_text="Highest number of a patient who was deleted."
            ),
        ),
    ]
