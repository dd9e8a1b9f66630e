"""The pages of an import, as a browser without JavaScript uses them."""

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.jobs.models import JobState
from apps.patients.importing import runner, services
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, ImportStep

GOOD = "patient,age,sex\na-1,71,F\na-2,80,M\n"


class Wizard:
    """One import after another, by their pages; the worker's part is done here and now."""

    def __init__(self, client, importer):
        self.client = client
        self.importer = importer
        self.found = None

    def upload(self, content, name="clinic.csv", **fields):
        file = SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)
        address = reverse("patients:start-import", args=[self.importer.cohort.pk])
        response = self.client.post(address, {"file": file, **fields})
        if response.status_code == 302:
            self.found = EhrImport.objects.get(pk=response.url.split("/")[2])
        return response

    def work(self):
        runner.carry_out_step(step_id=self.found.step.pk)
        self.found.refresh_from_db()

    def reach(self, stage, content=GOOD, name="clinic.csv"):
        """Take a file as far as a stage, by the buttons alone."""
        self.upload(content, name)
        self.work()
        if stage in {Stage.CHECKED, Stage.COMMITTED}:
            self.press("check-import")
            self.work()
        if stage is Stage.COMMITTED:
            self.press("commit-import")
            self.work()
        assert self.found.stage == stage
        return self

    def fail(self, reason="The disk is full."):
        """The step under way ends as a worker would end it that cannot go on."""
        ImportStep.objects.filter(pk=self.found.step.pk).update(
            state=JobState.FAILED, reason=reason, finished_at=self.found.requested_at
        )

    def address(self, name, *more):
        return reverse(f"patients:{name}", args=[self.found.pk, *more])

    def press(self, name, *more, **fields):
        response = self.client.post(self.address(name, *more), fields)
        self.found.refresh_from_db()
        return response

    def see(self, name="import", *more, **query):
        response = self.client.get(self.address(name, *more), query, follow=True)
        assert response.status_code == 200
        return response.content.decode()

    def line(self, header):
        """Number and view of a column."""
        view = services.mapping_of(ehr_import=self.found)
        return next((n, c) for n, c in enumerate(view.columns) if c.header == header)
