from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0002_the_newest_prediction_is_marked")]
    operations = [
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("is_newest", True)),
                fields=["run"],
                include=("patient", "answer", "probability", "created_at"),
                name="prediction_newest_of_run",
            ),
        ),
    ]
