import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("patients", "0001_initial")]
    operations = [
        migrations.RemoveField(model_name="finding", name="upload"),
        migrations.AddField(
            model_name="finding",
            name="recorded_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="When it was stored, with its whole upload.",
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="finding",
            name="patient",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="findings",
                to="patients.patient",
            ),
        ),
    ]
