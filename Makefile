.DEFAULT_GOAL := help
.PHONY: help install install-dev assets browser demo test check fix bench clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
NPM = $(shell command -v npm || echo $(BIN)/npm)

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(BIN)/.installed assets  ## install what the application needs, into .venv
install-dev: $(BIN)/.installed-dev assets  ## install what development and the tests need, too
assets: static/vendor/.copied static/vendor/mni152/template-2mm.nii  ## fetch NiiVue by the lock file; copy page scripts and the template to static/vendor

demo: install  ## start everything and serve the application on 127.0.0.1; Ctrl-C stops it
	@$(BIN)/python manage.py demo

test: install-dev browser  ## install what the tests need and run every test
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: install-dev browser  ## everything CI runs, cheapest first; the tests come last
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/djade --check $$(git ls-files 'templates/*.html')
	git ls-files | grep -v -e lock -e static/samples -e concepts.toml | xargs $(BIN)/codespell
	$(BIN)/deptry .
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

fix: install-dev  ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djade $$(git ls-files 'templates/*.html')

bench: install-dev  ## measure every figure that README quotes, into benchmarks/results/
	@for script in benchmarks/bench_*.py; do echo "$$script"; $(BIN)/python -m "benchmarks.$$(basename $$script .py)" || exit 1; done

browser:  ## install Debian's Chromium for the browser tests, where it is missing
	@command -v chromium >/dev/null || { \
	  command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	} || { echo "The browser tests need Chromium: install the package 'chromium' and run this again."; exit 1; }

clean:  ## remove what was installed and built; the data in var/ stay
	rm -rf .venv node_modules static/vendor staticfiles

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "MIRAGE needs Python 3.11 or newer; this is $$($(PYTHON) --version)."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(BIN)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(BIN)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(BIN)/.installed $@

node_modules/.fetched: package.json package-lock.json | $(BIN)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM) ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

static/vendor/mni152/template-2mm.nii: ml/data/template_file.py | $(BIN)/.installed
	$(BIN)/python -m ml.data.template_file $@

static/vendor/.copied: node_modules/.fetched $(BIN)/.installed
	@mkdir -p static/vendor/niivue static/vendor/plotly
	cp node_modules/@niivue/niivue/dist/niivue.umd.js static/vendor/niivue/
	cp "$$($(BIN)/python -c 'import plotly, pathlib; print(pathlib.Path(plotly.__file__).parent / "package_data/plotly.min.js")')" static/vendor/plotly/
	@touch $@
